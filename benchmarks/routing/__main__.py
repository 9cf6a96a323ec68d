"""Measure each size in its own processes, and show the results in docs/performance.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from benchmarks.routing.live import LiveResult
from benchmarks.routing.report import PACKAGES, Report, page
from benchmarks.routing.size import SizeResult
from benchmarks.routing.timing import Latency
from benchmarks.support.document import place
from benchmarks.support.machine import describe
from benchmarks.support.rounds import Spread, spread

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "routing.json"
DOCUMENT = ROOT / "docs" / "performance.md"
SIZES = (10, 1_000, 10_000, 100_000)
QUICK_SIZES = (10, 1_000)
RELEASES = 200
QUICK_RELEASES = 40


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
    # Show the stored results: rendering them again later gives the same page.
    kept = msgspec.json.decode(RESULTS.read_bytes(), type=Report)
    print(page(kept))
    place(DOCUMENT, "routing", page(kept))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__)
    parser.add_argument(
        "--sizes", type=_sizes, help="such as 10,1000; the results are printed only"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes; the results are printed only"
    )
    parser.add_argument("--rounds", type=int, default=15, help="rounds of decisions; default: 15")
    parser.add_argument("--render", action="store_true", help="show the last results again")
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> Report:
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    releases = QUICK_RELEASES if options.quick else RELEASES
    machine = describe(*PACKAGES)
    found, growth = _measure_decisions(sizes, options.rounds)
    live = [_run_live(size, releases) for size in sizes]
    return Report(
        machine=machine, rounds=options.rounds, sizes=found, growth=growth, live=tuple(live)
    )


def _measure_decisions(
    sizes: Sequence[int], rounds: int
) -> tuple[tuple[SizeResult, ...], dict[str, Spread]]:
    """Return the results of each size, and the growth of decisions from first to last size."""
    with ExitStack() as stack:
        processes = [stack.enter_context(_started(size)) for size in sizes]
        print(f"decisions, {rounds} rounds …", file=sys.stderr, flush=True)
        ratios: dict[str, list[float]] = {}
        for _ in range(rounds):
            latencies = [process.round() for process in processes]
            for kind, latency in latencies[-1].items():
                ratios.setdefault(kind, []).append(latency.p50_us / latencies[0][kind].p50_us)
        found = tuple(process.result() for process in processes)
    return found, {kind: spread(found) for kind, found in ratios.items()}


class _SizeProcess:
    """The process that measures one size; see ``benchmarks.routing.size``."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def round(self) -> dict[str, Latency]:
        assert self._process.stdin is not None
        self._process.stdin.write(b"round\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self.line(), type=dict[str, Latency])

    def result(self) -> SizeResult:
        assert self._process.stdin is not None
        self._process.stdin.close()
        return msgspec.json.decode(self.line(), type=SizeResult)

    def line(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} died")
        return line


@contextmanager
def _started(size: int) -> Iterator[_SizeProcess]:
    print(f"size: {size:,} deployments …", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.routing.size", str(size)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        size_process = _SizeProcess(process)
        size_process.line()
        yield size_process


def _run_live(size: int, releases: int) -> LiveResult:
    print(f"live: {size:,} deployments …", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.routing.live", str(size), str(releases)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=LiveResult)


def _sizes(text: str) -> Sequence[int]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
