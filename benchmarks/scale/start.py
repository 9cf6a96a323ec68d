"""The cost of a start with so many previews: ``python -m benchmarks.scale.start N``.

Only the start of a site is measured, in wall time, CPU time and memory. CPU time moves less on a
busy machine.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import uvloop

from benchmarks.scale.site import open_site

_MIB = 1 << 20


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.start", description=__doc__)
    parser.add_argument("previews", type=int, help="number of previews")
    uvloop.run(_measure(parser.parse_args().previews))


async def _measure(previews: int) -> None:
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with open_site(Path(folder, "site"), previews) as site:
            cpu_ns, memory = site.cpu_ns(), site.rss_bytes()
            print(f"{previews:,} previews: fox up → first 200 {site.first_answer_s:.2f} s")
            for role in ("fox up", "http"):
                cpu_s, size = cpu_ns[role] / 1e9, memory[role] / _MIB
                print(f"{role}: {cpu_s:.2f} s of CPU, {size:.0f} MiB")


if __name__ == "__main__":
    main()
