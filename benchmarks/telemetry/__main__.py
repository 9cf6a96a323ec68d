"""Measure what telemetry costs, write JSON, and show it in docs/performance.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import uvloop

from benchmarks.support.document import place
from benchmarks.support.job import Job
from benchmarks.support.load import open_generator
from benchmarks.support.machine import describe
from benchmarks.support.rounds import alternate
from benchmarks.telemetry.modes import start_all
from benchmarks.telemetry.report import PACKAGES, Load, Report, page

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "telemetry.json"
DOCUMENT = ROOT / "docs" / "performance.md"
NAME = "telemetry"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of each load; default: 7")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a round; default: 1")
    parser.add_argument("--render", action="store_true", help="show the last results again")
    options = parser.parse_args()
    if not options.render:
        report = uvloop.run(measure(options.rounds, options.seconds))
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    kept = msgspec.json.decode(RESULTS.read_bytes(), type=Report)
    print(page(kept))
    place(DOCUMENT, NAME, page(kept))


async def measure(rounds: int, seconds: float) -> Report:
    """Return a report of this machine."""
    machine = describe(*PACKAGES)
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with AsyncExitStack() as stack:
            generator = await stack.enter_async_context(open_generator())
            started = await start_all(Path(folder), stack)
            near, far = [each for each, _ in started], [each for _, each in started]
            loads = (
                ("One component, 32 connections", near, 32),
                ("One component, 1 connection", near, 1),
                ("Two components, 32 connections", far, 32),
            )
            found = []
            for title, contestants, connections in loads:
                print(f"{title} …", file=sys.stderr, flush=True)
                job = Job(port=0, paths=(), connections=connections, duration_s=seconds)
                results = await alternate(generator, contestants, job, rounds)
                found.append(Load(title=title, rounds=rounds, results=tuple(results)))
    return Report(machine=machine, loads=tuple(found))


if __name__ == "__main__":
    main()
