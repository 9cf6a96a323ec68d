"""Limits of how often something is done for one key."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable


class Attempts:
    """Counts what was done for each key within the last time.

    Args:
        limit: How often it may be done.
        within_s: The time.
        now: Clock, in seconds.
    """

    def __init__(self, limit: int, within_s: float, now: Callable[[], float]) -> None:
        self._limit = limit
        self._within_s = within_s
        self._now = now
        self._times: dict[Hashable, deque[float]] = {}

    def wait_s(self, key: Hashable) -> float:
        """Return how long to wait until it may be done again; 0 counts it as done now."""
        times, now_s = self._times.setdefault(key, deque()), self._now()
        while times and times[0] <= now_s - self._within_s:
            times.popleft()
        if len(times) >= self._limit:
            return times[0] + self._within_s - now_s
        times.append(now_s)
        return 0.0

    def forget(self, key: Hashable) -> None:
        """Forget what was done for a key."""
        self._times.pop(key, None)
