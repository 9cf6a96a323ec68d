"""A limited rate of work."""

from __future__ import annotations

import asyncio


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
