"""Measure overload, floods and faults; show the results in docs/performance.md."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import uvloop

from benchmarks.overload import capacity, neighbours, noticing, waiting_events
from benchmarks.overload.effort import FULL, QUICK, Effort
from benchmarks.overload.page import page
from benchmarks.overload.report import PACKAGES, Report
from benchmarks.support.document import place
from benchmarks.support.machine import describe

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "overload.json"
DOCUMENT = ROOT / "docs" / "performance.md"
NAME = "overload"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run shorter, with fewer rounds")
    parser.add_argument("--print", action="store_true", help="print the results, and store nothing")
    parser.add_argument("--render", action="store_true", help="show the last results again")
    options = parser.parse_args()
    if options.render:
        report = msgspec.json.decode(RESULTS.read_bytes(), type=Report)
    else:
        report = uvloop.run(measure(QUICK if options.quick else FULL))
    print(page(report))
    if not options.print:
        RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
        place(DOCUMENT, NAME, page(report))


async def measure(effort: Effort) -> Report:
    """Run the benchmark on this machine and return the report."""
    machine = describe(*PACKAGES)
    return Report(
        machine=machine,
        is_quick=effort is QUICK,
        goodput=await capacity.measure(effort),
        neighbours=await neighbours.measure(effort),
        events=await waiting_events.measure(effort),
        faults=await noticing.measure(effort),
    )


if __name__ == "__main__":
    main()
