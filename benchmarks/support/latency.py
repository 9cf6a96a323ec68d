"""Percentiles of latencies, by nearest rank: a percentile is always a latency that was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

NS_PER_US = 1_000


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies of all answers of a run, in microseconds; all are 0 without answers."""

    p50_us: float = 0
    p90_us: float = 0
    p99_us: float = 0
    p999_us: float = 0
    max_us: float = 0


def latencies(times_ns: Iterable[int]) -> Latencies:
    """Return the percentiles of times in nanoseconds, in any order."""
    ordered = sorted(times_ns)
    if not ordered:
        return Latencies()
    shown = {
        f"p{name}_us": round(percentile(ordered, percent) / NS_PER_US, 1)
        for name, percent in (("50", 50), ("90", 90), ("99", 99), ("999", 99.9))
    }
    return Latencies(**shown, max_us=round(ordered[-1] / NS_PER_US, 1))


def percentile(ordered: Sequence[int], percent: float) -> int:
    """Return the smallest value that is not exceeded by at least ``percent`` % of the values.

    Args:
        ordered: The values, sorted; not empty.
        percent: Above 0, at most 100.
    """
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]
