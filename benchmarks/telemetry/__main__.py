"""Measure what telemetry costs, write JSON, and show it in docs/performance.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
import uvloop

from benchmarks.support.document import place
from benchmarks.support.job import Job
from benchmarks.support.load import Generator, open_generator
from benchmarks.support.machine import describe
from benchmarks.support.rounds import Contestant, Rounds, alternate, results
from benchmarks.telemetry.modes import start_all
from benchmarks.telemetry.report import PACKAGES, Load, Report, page

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "telemetry.json"
DOCUMENT = ROOT / "docs" / "performance.md"
NAME = "telemetry"
LOADS = (
    ("One component, 32 connections", 0, 32),
    ("One component, 1 connection", 0, 1),
    ("Two components, 32 connections", 1, 32),
)
"""Title, which contestant of a mode, connections."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--starts", type=int, default=8, help="of all platforms; default: 8")
    parser.add_argument("--rounds", type=int, default=2, help="of each load a start; default: 2")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a round; default: 0.5")
    parser.add_argument("--render", action="store_true", help="show the last results again")
    options = parser.parse_args()
    if not options.render:
        report = uvloop.run(measure(options.starts, options.rounds, options.seconds))
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    kept = msgspec.json.decode(RESULTS.read_bytes(), type=Report)
    print(page(kept))
    place(DOCUMENT, NAME, page(kept))


async def measure(starts: int, rounds: int, seconds: float) -> Report:
    """Return a report of this machine.

    How the memory of a process happens to lie makes it up to 9 % faster or slower for as long as it
    lives, so all platforms are started anew several times.
    """
    machine = describe(*PACKAGES)
    played: list[list[Played]] = []
    async with open_generator() as generator:
        for start in range(starts):
            print(f"Start {start + 1} of {starts} …", file=sys.stderr, flush=True)
            played.append(await _play(generator, start, rounds, seconds))
    loads = []
    for (title, _, _), of_load in zip(LOADS, zip(*played, strict=True), strict=True):
        found = results(of_load[0].contestants, *(each.rounds for each in of_load))
        loads.append(Load(title=title, rounds=starts * rounds, results=tuple(found)))
    return Report(machine=machine, loads=tuple(loads))


class Played(NamedTuple):
    """One load of one start."""

    contestants: list[Contestant]
    rounds: Rounds


async def _play(generator: Generator, turn: int, rounds: int, seconds: float) -> list[Played]:
    """Start every platform, and apply every load to them."""
    played = []
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with AsyncExitStack() as stack:
            started = await start_all(Path(folder), stack, turn)
            for _, asked, connections in LOADS:
                job = Job(port=0, paths=(), connections=connections, duration_s=seconds)
                contestants = [each[asked] for each in started]
                found = await alternate(generator, contestants, job, rounds)
                played.append(Played(contestants, found))
    return played


if __name__ == "__main__":
    main()
