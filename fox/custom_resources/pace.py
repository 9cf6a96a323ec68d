"""Limits of how often something is done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable


class Pace:
    """Lets work begin at a limited rate; some of it may begin at once.

    Args:
        per_s: Rate.
        burst: How much may begin at once after a pause.
    """

    def __init__(self, per_s: float, burst: int) -> None:
        self._interval_s = 1 / per_s
        self._slack_s = burst / per_s
        self._next_s = 0.0

    async def take(self) -> None:
        """Return when the next piece of work may begin."""
        now_s = asyncio.get_running_loop().time()
        self._next_s = max(self._next_s, now_s - self._slack_s) + self._interval_s
        if self._next_s > now_s:
            await asyncio.sleep(self._next_s - now_s)


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
