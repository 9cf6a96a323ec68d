"""The cost of a start with so many previews: ``python -m benchmarks.scale.start N``.

Only the start of a site is measured, in wall time, CPU time and memory: first on records that no
process has read before, then a restart, for which the first process has left a checkpoint if there
are enough records. CPU time moves less on a busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

import uvloop

from benchmarks.scale.site import Site, open_previews, start_site
from benchmarks.support.programs import POLL_S
from broker.storage.checkpoint import MIN_RECORDS, read_header
from fox.data_dir import CHECKPOINT_FILE

_MIB = 1 << 20
_RECORDS_OF_PREVIEW = 3
_GIVE_UP_S = 300


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.start", description=__doc__)
    parser.add_argument("previews", type=int, help="number of previews")
    parser.add_argument("--restarts", type=int, default=1)
    options = parser.parse_args()
    uvloop.run(_measure(options.previews, options.restarts))


async def _measure(previews: int, restarts: int) -> None:
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as temporary:
        folder = Path(temporary, "site")
        async with open_previews(folder, previews) as nats:
            async with start_site(folder, previews, nats) as site:
                _show("first start", site)
                if previews * _RECORDS_OF_PREVIEW >= MIN_RECORDS:
                    await _wait_checkpoint(folder / "data" / CHECKPOINT_FILE, previews)
            for _ in range(restarts):
                async with start_site(folder, previews, nats) as site:
                    _show("restart", site)


def _show(name: str, site: Site) -> None:
    cpu_ns, memory = site.cpu_ns(), site.rss_bytes()
    print(f"{name}, {site.size:,} previews: fox up → first 200 {site.first_answer_s:.2f} s")
    for role in ("fox up", "http"):
        cpu_s, size = cpu_ns[role] / 1e9, memory[role] / _MIB
        print(f"{role}: {cpu_s:.2f} s of CPU, {size:.0f} MiB", flush=True)


async def _wait_checkpoint(file: Path, previews: int) -> None:
    """Return when a checkpoint holds all previews."""
    async with asyncio.timeout(_GIVE_UP_S):
        while True:
            header = await asyncio.to_thread(read_header, file)
            if header is not None and header.revision >= previews * _RECORDS_OF_PREVIEW:
                return
            await asyncio.sleep(POLL_S)


if __name__ == "__main__":
    main()
