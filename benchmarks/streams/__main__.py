"""Compare streams with aiohttp alone; show the results in docs/performance.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from benchmarks.e2e.kubefox import FIRST, KubeFox, deploy_app, start_separately, url_path
from benchmarks.streams.report import PACKAGES, Moved, Report, page
from benchmarks.streams.transfers import (
    StreamContestant,
    download,
    event_latencies,
    peak_bytes,
    reset_peaks,
    upload,
)
from benchmarks.support.document import place
from benchmarks.support.machine import describe
from benchmarks.support.programs import Programs
from benchmarks.support.rounds import spread

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "streams.json"
DOCUMENT = ROOT / "docs" / "performance.md"
NAME = "streams"
WARM_UP_BYTES = 8 << 20


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds; default: 5")
    parser.add_argument("--mib", type=int, default=256, help="size of a body; default: 256")
    parser.add_argument("--events", type=int, default=1000, help="number of events; default: 1000")
    parser.add_argument("--print", action="store_true", help="print the results, and store nothing")
    parser.add_argument("--render", action="store_true", help="show the last results again")
    options = parser.parse_args()
    if options.render:
        report = msgspec.json.decode(RESULTS.read_bytes(), type=Report)
    else:
        report = uvloop.run(measure(options.rounds, options.mib << 20, options.events))
    print(page(report))
    if not options.print:
        RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
        place(DOCUMENT, NAME, page(report))


async def measure(rounds: int, size: int, events: int) -> Report:
    """Run the benchmark on this machine and return the report."""
    machine = describe(*PACKAGES)
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(
                aiohttp.ClientSession(read_bufsize=1 << 18, timeout=aiohttp.ClientTimeout())
            )
            contestants = await start_all(Programs(Path(folder), stack))
            found = await _alternate(session, contestants, rounds, size)
            moved = [
                await _moved(session, contestant, *found[contestant.name], events)
                for contestant in contestants
            ]
    return Report(machine=machine, size_bytes=size, rounds=rounds, moved=tuple(moved))


async def start_all(programs: Programs) -> list[StreamContestant]:
    """Start bare aiohttp and KubeFox."""
    program = sys.executable, "-m", "benchmarks.streams.bare"
    bare = await programs.start("bare", *program, ready=r"listening (\d+)")
    kubefox = await start_separately(programs)
    await deploy_app(kubefox, programs, Path(__file__).with_name("app"))
    pods = await kubefox.pods("store", "gate")
    own = {"adapter": kubefox.processes["adapter"], "NATS": kubefox.processes["NATS"]}
    return [
        StreamContestant(
            name="bare aiohttp",
            url=f"http://127.0.0.1:{bare.ready_text}/",
            events_url=f"http://127.0.0.1:{bare.ready_text}/",
            processes={"server": (bare.pid,)},
        ),
        StreamContestant(
            name="KubeFox, one component",
            url=_url(kubefox, "bytes"),
            events_url=_url(kubefox, "events"),
            processes={**own, "pod": pods["store"]},
        ),
        StreamContestant(
            name="KubeFox, two components",
            url=_url(kubefox, "via/bytes"),
            processes={**own, "pods": pods["gate"] + pods["store"]},
        ),
    ]


def _url(kubefox: KubeFox, path: str) -> str:
    return f"http://127.0.0.1:{kubefox.http_port}{url_path(path, FIRST)}"


_Rates = tuple[list[float], list[float], dict[str, int]]


async def _alternate(
    session: aiohttp.ClientSession, contestants: list[StreamContestant], rounds: int, size: int
) -> dict[str, _Rates]:
    found: dict[str, _Rates] = {contestant.name: ([], [], {}) for contestant in contestants}
    for contestant in contestants:
        await download(session, contestant.url, WARM_UP_BYTES)
        await upload(session, contestant.url, WARM_UP_BYTES)
    for number in range(rounds):
        first = number % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            downs, ups, peaks = found[contestant.name]
            for pids in contestant.processes.values():
                reset_peaks(pids)
            downs.append(await download(session, contestant.url, size))
            ups.append(await upload(session, contestant.url, size))
            for name, pids in contestant.processes.items():
                peaks[name] = max(peaks.get(name, 0), peak_bytes(pids))
    return found


async def _moved(
    session: aiohttp.ClientSession,
    contestant: StreamContestant,
    downs: list[float],
    ups: list[float],
    peaks: dict[str, int],
    events: int,
) -> Moved:
    event_us = None
    if contestant.events_url:
        seen = await event_latencies(session, contestant.events_url, events)
        event_us = round(seen[len(seen) // 2]), round(seen[len(seen) * 99 // 100])
    return Moved(
        name=contestant.name,
        down_mb_s=spread(downs),
        up_mb_s=spread(ups),
        peak_bytes=peaks,
        event_us=event_us,
    )


if __name__ == "__main__":
    main()
