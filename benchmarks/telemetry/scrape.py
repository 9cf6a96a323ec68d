"""How much CPU does a scrape of ``/metrics`` take, step by step?

No server runs: the figures of processes are made, encoded, decoded, summed and rendered as control
does it.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from broker.telemetry import prometheus
from broker.telemetry.collected import CollectedFigures
from broker.telemetry.figures import EventLabels, EventRole, ProcessFigures
from broker.telemetry.metrics import Metrics, count_duration, count_queue_time
from kubefox.steps import finish

EVENTS = 20
"""Events of each series."""

_Made = TypeVar("_Made")
_decode = msgspec.msgpack.Decoder(ProcessFigures).decode


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.telemetry.scrape", description=__doc__
    )
    parser.add_argument("--processes", type=int, default=2, help="an adapter and pods; default: 2")
    parser.add_argument("--contexts", type=int, default=10_000, help="of each; default: 10,000")
    options = parser.parse_args()
    measured = [process(number, options.contexts) for number in range(options.processes)]
    for number in range(2):
        print(f"scrape {number + 1}")
        scrape(measured)


def process(number: int, contexts: int) -> Metrics:
    """Return the metrics of an adapter (number 0) or a pod that has served many contexts."""
    chance, metrics = random.Random(number), Metrics()
    component = ("api-server", "0" * 32) if number else ("adapter/http", "")
    role = EventRole.COMPONENT if number else EventRole.GENESIS
    for context in range(contexts):
        labels = EventLabels(
            *component, "shop", f"shop-{number}-{context}", f"team-{context}", role
        )
        counters = metrics.series(labels).counters
        for _ in range(EVENTS):
            count_duration(counters, 200, int(chance.expovariate(1 / 3e6)))
            if number:
                count_queue_time(counters, int(chance.expovariate(1 / 3e5)))
    return metrics


def scrape(measured: list[Metrics]) -> None:
    """Measure the steps of one scrape of all processes."""
    names = [f"p{number}" for number in range(len(measured))]
    collected = CollectedFigures()
    figures = timed(
        "figures, in all processes",
        lambda: [metrics.figures(name, "") for name, metrics in zip(names, measured, strict=True)],
    )
    answers = timed("encode, in all processes", lambda: list(map(msgspec.msgpack.encode, figures)))
    decoded = timed("decode", lambda: list(map(_decode, answers)))
    for part in decoded:
        finish(collected.add(part))
    totals = timed("sum", lambda: finish(collected.totals(0, names)))
    size = timed("render", lambda: sum(map(len, prometheus.chunks(totals, ()))))
    print(f"{len(totals.series):,} series, {size / 1e6:.1f} MB of text")


def timed(name: str, work: Callable[[], _Made]) -> _Made:
    """Do a step, print the CPU time that it takes, and return its result."""
    begin_s = time.process_time()
    made = work()
    print(f"  {name:<28}{(time.process_time() - begin_s) * 1_000:8.1f} ms of CPU")
    return made


if __name__ == "__main__":
    main()
