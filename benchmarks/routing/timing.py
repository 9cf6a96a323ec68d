"""Times of single calls.

A time holds the call and the reading of the clock, 0.1 to 0.2 µs; nothing is subtracted.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter, perf_counter_ns

import msgspec

from kubefox.errors import FoxError


class Latency(msgspec.Struct, frozen=True):
    """Latency of all calls, in microseconds."""

    p50_us: float
    p99_us: float


Call = Callable[[], object]


def time_each(calls: Sequence[Call]) -> list[int]:
    """Return the time of each call in nanoseconds; an error of the platform is a valid result."""
    times = []
    for call in calls:
        start = perf_counter_ns()
        # ``suppress`` would add 0.2 µs.
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


class Groups:
    """Groups of calls that are timed one after another.

    Args:
        calls: Calls of each group, by its name.
    """

    def __init__(self, calls: Mapping[str, Sequence[Call]]) -> None:
        self._calls = calls
        self._times: dict[str, list[int]] = {name: [] for name in calls}

    def round(self) -> dict[str, Latency]:
        """Time every call once, and return the latencies.

        All objects are frozen, as in a broker, so that the garbage collector skips them. Every call
        runs once before it is timed, to fill the CPU caches.
        """
        gc.collect()
        gc.freeze()
        for calls in self._calls.values():
            time_each(calls)
        found = {name: time_each(calls) for name, calls in self._calls.items()}
        gc.unfreeze()
        for name, times in found.items():
            self._times[name] += times
        return {name: latency(times) for name, times in found.items()}

    def latencies(self) -> dict[str, Latency]:
        """Return the latency of each group over all rounds."""
        return {name: latency(times) for name, times in self._times.items()}


def latency(times_ns: Sequence[int]) -> Latency:
    """Return median and 99th percentile of times in nanoseconds."""
    ordered = sorted(times_ns)
    return Latency(
        round(ordered[len(ordered) // 2] / 1_000, 2),
        round(ordered[len(ordered) * 99 // 100] / 1_000, 2),
    )
