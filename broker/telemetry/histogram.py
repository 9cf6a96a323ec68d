"""Durations counted in fixed buckets: any two histograms can be added."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec

# Six buckets a decade from 10 µs to 70 s: a quantile read from them is off by a fifth at most.
BOUNDS_S = tuple(
    round(step * 10.0**decade, 8) for decade in range(-5, 2) for step in (1, 1.5, 2, 3, 5, 7)
)
BOUNDS_NS = tuple(round(bound * 1e9) for bound in BOUNDS_S)
BUCKETS = len(BOUNDS_S) + 1
_SUM_BITS = 64
ONE = 1 << _SUM_BITS
"""What a duration adds to its bucket, besides its nanoseconds: a bucket is one number, the count
above and the sum below, for each number that an event changes is one more that has to be at hand.
"""
_HALF = ONE >> 1


class Durations(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A histogram as it was at one moment.

    Attributes:
        counts: One for each bound, of what is at most that long, and one for what is longer; or
            nothing at all.
        total_s: Sum of all durations.
    """

    counts: tuple[int, ...] = ()
    total_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse buckets that cannot be added to ours: those of another release's process."""
        if len(self.counts) not in (0, BUCKETS):
            raise ValueError(f"{len(self.counts)} buckets, expected {BUCKETS}")

    @staticmethod
    def of(buckets: Sequence[int]) -> Durations:
        """Return what buckets say that were added to; see ``ONE``.

        A clock that was set back makes durations below 0: they count, and take nothing away.
        """
        counts = tuple((each + _HALF) >> _SUM_BITS for each in buckets)
        sums = (each - count * ONE for each, count in zip(buckets, counts, strict=True))
        return Durations(counts, sum(max(0, each) for each in sums) / 1e9)

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)

    def quantile_s(self, share: float) -> float | None:
        """Return the duration that ``share`` of all stay below; None if there are none."""
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
        """Return what was counted since ``earlier``; never below 0, a process may be gone."""
        before = earlier.counts or (0,) * len(self.counts)
        counts = tuple(max(0, a - b) for a, b in zip(self.counts, before, strict=True))
        return Durations(counts, max(0.0, self.total_s - earlier.total_s))


def merged(durations: Iterable[Durations]) -> Durations:
    """Return what all of them counted together."""
    known = [each for each in durations if each.counts]
    if len(known) == 1:
        return known[0]
    counts = tuple(map(sum, zip(*(each.counts for each in known), strict=True)))
    return Durations(counts, sum(each.total_s for each in known))


def _edges(at: int) -> tuple[float, float]:
    edges = tuple(chain((0.0,), BOUNDS_S, (BOUNDS_S[-1],)))
    return edges[at], edges[at + 1]
