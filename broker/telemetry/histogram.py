"""Histograms of durations with fixed buckets, so that any two can be added."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec

# Six buckets a decade from 10 µs to 70 s: the error of a quantile is a fifth at most.
BOUNDS_S = tuple(
    round(step * 10.0**decade, 8) for decade in range(-5, 2) for step in (1, 1.5, 2, 3, 5, 7)
)
BOUNDS_NS = tuple(round(bound * 1e9) for bound in BOUNDS_S)
BUCKETS = len(BOUNDS_S) + 1
_SUM_BITS = 64
ONE = 1 << _SUM_BITS
"""Added to a bucket with each duration's nanoseconds.

A bucket is one number: the count in the upper bits and the sum in the lower 64. A second number
would be one more cache miss for every event.
"""
_HALF = ONE >> 1


class Durations(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A histogram at one moment.

    Attributes:
        counts: Number of durations up to each bound, and above the last bound (the overflow
            bucket); empty without any duration.
        total_s: Sum of all durations.
    """

    counts: tuple[int, ...] = ()
    total_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse buckets with other bounds: those of a process of another release."""
        if len(self.counts) not in (0, BUCKETS):
            raise ValueError(f"{len(self.counts)} buckets, expected {BUCKETS}")

    @staticmethod
    def of(buckets: Sequence[int]) -> Durations:
        """Return the histogram of buckets; see ``ONE``.

        A clock that is set back makes negative durations: they are counted as 0 s.
        """
        if not any(buckets):
            return Durations((0,) * len(buckets))
        counts = tuple([(bucket + _HALF) >> _SUM_BITS if bucket else 0 for bucket in buckets])
        sums_ns = [
            bucket - count * ONE for bucket, count in zip(buckets, counts, strict=True) if count
        ]
        return Durations(counts, sum([max(0, sum_ns) for sum_ns in sums_ns]) / 1e9)

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self.counts)

    def quantile_s(self, share: float) -> float | None:
        """Return the quantile of ``share``, in seconds; None without any duration."""
        rank = share * self.count
        if not rank:
            return None
        below = 0
        for at, count in enumerate(self.counts):
            if count and below + count >= rank:
                low, high = _edges(at)
                return low + (high - low) * (rank - below) / count
            below += count
        return BOUNDS_S[-1]

    def minus(self, earlier: Durations) -> Durations:
        """Return the durations since ``earlier``; not negative if a process is gone."""
        before = earlier.counts or (0,) * len(self.counts)
        counts = tuple(max(0, a - b) for a, b in zip(self.counts, before, strict=True))
        return Durations(counts, max(0.0, self.total_s - earlier.total_s))


def merged(durations: Iterable[Durations]) -> Durations:
    """Return the sum of histograms."""
    filled = [histogram for histogram in durations if histogram.counts]
    if len(filled) == 1:
        return filled[0]
    counts = tuple(map(sum, zip(*(histogram.counts for histogram in filled), strict=True)))
    return Durations(counts, sum(histogram.total_s for histogram in filled))


def _edges(at: int) -> tuple[float, float]:
    edges = tuple(chain((0.0,), BOUNDS_S, (BOUNDS_S[-1],)))
    return edges[at], edges[at + 1]
