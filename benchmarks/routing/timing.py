"""How long single calls take.

A time holds the call and the reading of the clock, 0.1 to 0.2 µs; nothing is subtracted.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
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


class Groups:
    """Groups of calls that are timed in turn.

    Args:
        calls: Of each group, by its name.
    """

    def __init__(self, calls: Mapping[str, Sequence[Call]]) -> None:
        """Start without a time."""
        self._calls = calls
        self._times: dict[str, list[int]] = {name: [] for name in calls}

    def round(self) -> dict[str, Latency]:
        """Time every call once, and return the latencies of these.

        The collector stands aside as it does in a broker, which freezes what it has loaded; and
        all calls are made before they are timed, for it and other processes had their turn.
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
    """Return median and 99th percentile."""
    ordered = sorted(times_ns)
    return Latency(
        round(ordered[len(ordered) // 2] / 1_000, 2),
        round(ordered[len(ordered) * 99 // 100] / 1_000, 2),
    )
