"""Measure the cost of telemetry, and show the results in docs/performance.md."""

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
"""Title, index of the contestant in a mode, and number of connections."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=10, help="rounds of each load in a start; default: 10"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.25, help="time of a round; default: 0.25"
    )
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
    """Run the benchmark on this machine and return the report.

    Args:
        rounds: Number of rounds of each load in a start.
        seconds: Time of one contestant in a round.
    """
    machine = describe(*PACKAGES)
    played: dict[str, list[tuple[LoadRounds, ...]]] = {}
    async with open_generator() as generator:
        for mode in MODES:
            for start in range(mode.starts):
                progress = f"{mode.name}: start {start + 1} of {mode.starts} …"
                print(progress, file=sys.stderr, flush=True)
                found = await _apply_loads(generator, mode, start, rounds, seconds)
                played.setdefault(mode.name, []).append(found)
    loads = [_load(title, at, played) for at, (title, _, _) in enumerate(LOADS)]
    return Report(machine=machine, loads=tuple(loads))


class LoadRounds(NamedTuple):
    """One load of one start: the contestants without and with telemetry, and their rounds."""

    baseline: Contestant
    measured: Contestant
    rounds: Rounds


async def _apply_loads(
    generator: Generator, mode: Mode, start: int, rounds: int, seconds: float
) -> tuple[LoadRounds, ...]:
    """Start a mode and its baseline without telemetry, and apply every load to both."""
    played = []
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with AsyncExitStack() as stack:
            started = await start_beside(mode, Path(folder), stack, start)
            for _, index, connections in LOADS:
                job = Job(port=0, paths=(), connections=connections, duration_s=seconds)
                baseline, measured = (contestants[index] for contestants in started)
                found = await alternate(generator, [baseline, measured], job, rounds)
                played.append(LoadRounds(baseline, measured, found))
    return tuple(played)


def _load(title: str, at: int, played: dict[str, list[tuple[LoadRounds, ...]]]) -> Load:
    """Return the results of one load: of all baselines together, then of each mode."""
    by_mode = {name: [start[at] for start in starts] for name, starts in played.items()}
    everything = [start for starts in by_mode.values() for start in starts]
    baseline = results([everything[0].baseline], *(start.rounds for start in everything))
    measured = [
        results([starts[0].measured], *(start.rounds for start in starts))[0]
        for starts in by_mode.values()
    ]
    return Load(title=title, results=(*baseline, *measured))


if __name__ == "__main__":
    main()
