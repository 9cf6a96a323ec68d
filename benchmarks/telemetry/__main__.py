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
from benchmarks.telemetry.modes import MODES, Mode, start_beside
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
    parser.add_argument("--rounds", type=int, default=10, help="of each load a start; default: 10")
    parser.add_argument("--seconds", type=float, default=0.25, help="of a round; default: 0.25")
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
    """Return a report of this machine.

    Args:
        rounds: Of each load in a start.
        seconds: Of a contestant in a round.
    """
    machine = describe(*PACKAGES)
    played: dict[str, list[tuple[Played, ...]]] = {}
    async with open_generator() as generator:
        for mode in MODES:
            for turn in range(mode.starts):
                told = f"{mode.name}: start {turn + 1} of {mode.starts} …"
                print(told, file=sys.stderr, flush=True)
                found = await _play(generator, mode, turn, rounds, seconds)
                played.setdefault(mode.name, []).append(found)
    loads = [_load(title, at, played) for at, (title, _, _) in enumerate(LOADS)]
    return Report(machine=machine, loads=tuple(loads))


class Played(NamedTuple):
    """One load of one start: the contestant that is not watched, the one that is, their rounds."""

    unwatched: Contestant
    watched: Contestant
    rounds: Rounds


async def _play(
    generator: Generator, mode: Mode, turn: int, rounds: int, seconds: float
) -> tuple[Played, ...]:
    """Start a mode beside one that is not watched, and apply every load to both."""
    played = []
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with AsyncExitStack() as stack:
            started = await start_beside(mode, Path(folder), stack, turn)
            for _, asked, connections in LOADS:
                job = Job(port=0, paths=(), connections=connections, duration_s=seconds)
                unwatched, watched = (each[asked] for each in started)
                found = await alternate(generator, [unwatched, watched], job, rounds)
                played.append(Played(unwatched, watched, found))
    return tuple(played)


def _load(title: str, at: int, played: dict[str, list[tuple[Played, ...]]]) -> Load:
    """Return what came of one load: of each mode, and of all that were not watched together."""
    by_mode = {name: [start[at] for start in starts] for name, starts in played.items()}
    everything = [each for starts in by_mode.values() for each in starts]
    unwatched = results([everything[0].unwatched], *(each.rounds for each in everything))
    watched = [
        results([starts[0].watched], *(each.rounds for each in starts))[0]
        for starts in by_mode.values()
    ]
    return Load(title=title, results=(*unwatched, *watched))


if __name__ == "__main__":
    main()
