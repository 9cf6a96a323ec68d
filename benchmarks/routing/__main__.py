"""Measure every size in a process of its own, write JSON and print the table."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import msgspec

from benchmarks.routing.report import report, table
from benchmarks.routing.size import SizeResult

SIZES = (10, 1_000, 10_000, 100_000)
RESULTS = Path("benchmarks/results/routing.json")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__)
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="such as 10,1000")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    options = parser.parse_args()
    found = report([_measured(size) for size in options.sizes])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    print(table(found))


def _measured(size: int) -> SizeResult:
    print(f"{size:,} deployments …", file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks.routing.size", str(size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=SizeResult)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
