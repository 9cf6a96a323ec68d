"""How long single calls take.

A time holds the call and the reading of the clock, 0.1 to 0.2 µs; nothing is subtracted.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from time import perf_counter, perf_counter_ns

import msgspec

from model.errors import FoxError


class Latency(msgspec.Struct, frozen=True):
    """Microseconds over all calls."""

    p50_us: float
    p99_us: float


Call = Callable[[], object]


def time_each(calls: Sequence[Call]) -> list[int]:
    """Return the nanoseconds of each call; an error of the platform is an answer like another."""
    times = []
    for call in calls:
        start = perf_counter_ns()
        # Not ``suppress``: to make, enter and leave it takes 0.2 µs.
        try:  # noqa: SIM105
            call()
        except FoxError:
            pass
        times.append(perf_counter_ns() - start)
    return times


def time_once(call: Call) -> float:
    """Return the seconds of one call."""
    start = perf_counter()
    call()
    return perf_counter() - start


def alternate(groups: dict[str, Sequence[Call]], rounds: int) -> dict[str, Latency]:
    """Return the latency of each group, in rounds that take turns, after one round of warm-up.

    The collector stands aside as it does in a broker, which freezes what it has loaded.
    """
    times: dict[str, list[int]] = {name: [] for name in groups}
    for calls in groups.values():
        time_each(calls)
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for name, calls in groups.items():
            times[name] += time_each(calls)
    gc.unfreeze()
    return {name: latency(found) for name, found in times.items()}


def latency(times_ns: Sequence[int]) -> Latency:
    """Return median and 99th percentile."""
    ordered = sorted(times_ns)
    return Latency(
        round(ordered[len(ordered) // 2] / 1_000, 2),
        round(ordered[len(ordered) * 99 // 100] / 1_000, 2),
    )
