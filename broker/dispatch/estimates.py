"""Estimates of how soon events begin and end, from the last ones.

One long time says little: the process may have been stopped for a moment, or a garbage collection
may have run. So nothing is estimated from a few times, and a single one counts for a few times the
average at most. If events have really become slower, the average follows within some events.
"""

from __future__ import annotations

LEAST_SAMPLES = 8
"""Number of times from which their average is used."""
MOST_GROWTH = 4
"""A time counts for so many times the average at most."""
_LEAST_S = 0.001
_WEIGHT = 0.1


class Estimate:
    """A moving average of times that follows no single one."""

    __slots__ = ("_average_s", "_count")

    def __init__(self) -> None:
        self._average_s = 0.0
        self._count = 0

    @property
    def seconds(self) -> float:
        """The average in seconds; 0 while there are too few times for one."""
        return self._average_s if self._count >= LEAST_SAMPLES else 0.0

    def add(self, time_s: float) -> None:
        """Take a time into account; a negative one, from a clock that was set, counts as 0."""
        time_s = max(0.0, time_s)
        if self._count:
            time_s = min(time_s, MOST_GROWTH * max(self._average_s, _LEAST_S))
        self._count += 1
        weight = max(1 / self._count, _WEIGHT)
        self._average_s += weight * (time_s - self._average_s)


class StartInterval:
    """The time between two starts, while events wait."""

    __slots__ = ("_estimate", "_last_start_s")

    def __init__(self) -> None:
        self._estimate = Estimate()
        self._last_start_s: float | None = None

    @property
    def seconds(self) -> float:
        """The average in seconds; 0 while there are too few starts for one."""
        return self._estimate.seconds

    def measure(self, now_s: float, *, is_next_waiting: bool) -> None:
        """Take a start into account.

        Args:
            now_s: The time of any clock, the same for all calls.
            is_next_waiting: Whether further events wait, so that the time until the next start
                counts.
        """
        if self._last_start_s is not None:
            self._estimate.add(now_s - self._last_start_s)
        self._last_start_s = now_s if is_next_waiting else None

    def interrupt(self) -> None:
        """Leave the time until the next start out."""
        self._last_start_s = None
