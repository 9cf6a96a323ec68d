"""Measure every size in processes of its own, write JSON, and show it in docs/performance.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.routing.live import LiveResult
from benchmarks.routing.report import PACKAGES, Report, best_live, best_size, page
from benchmarks.routing.size import SizeResult
from benchmarks.support.document import place
from benchmarks.support.machine import describe

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "routing.json"
DOCUMENT = ROOT / "docs" / "performance.md"
SIZES = (10, 1_000, 10_000, 100_000)
QUICK_SIZES = (10, 1_000)
RELEASES = 200
QUICK_RELEASES = 40

Found = TypeVar("Found", SizeResult, LiveResult)


def main() -> None:
    """Run the benchmark."""
    options = _options()
    if not options.render:
        found = _measure(options)
        if options.quick or options.sizes:
            print(page(found))
            return
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    # What is shown is what is kept, not what this process happens to hold.
    kept = msgspec.json.decode(RESULTS.read_bytes(), type=Report)
    print(page(kept))
    place(DOCUMENT, "routing", page(kept))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__)
    parser.add_argument("--sizes", type=_sizes, help="such as 10,1000; only printed")
    parser.add_argument("--quick", action="store_true", help="small sizes; only printed")
    parser.add_argument("--runs", type=int, default=1, help="of each size; the best is kept")
    parser.add_argument("--render", action="store_true", help="show the last results again")
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> Report:
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    releases = QUICK_RELEASES if options.quick else RELEASES
    machine, pure, live = describe(*PACKAGES), [], []
    for size in sizes:
        turns = range(options.runs)
        runs = [_run(SizeResult, "size", size) for _ in turns]
        pure.append(best_size(runs))
        live.append(best_live([_run(LiveResult, "live", size, releases) for _ in turns]))
    return Report(machine=machine, runs=options.runs, sizes=tuple(pure), live=tuple(live))


def _run(kind: type[Found], module: str, *arguments: int) -> Found:
    print(f"{module}: {arguments[0]:,} deployments …", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"benchmarks.routing.{module}", *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=kind)


def _sizes(text: str) -> Sequence[int]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
