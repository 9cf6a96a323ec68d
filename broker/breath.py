"""Long work in the loop that lets others have their turn."""

from __future__ import annotations

import asyncio
from time import perf_counter

HOLD_S = 0.005
"""How long work holds the loop at a stretch: a request that comes then waits that much longer."""


class Breath:
    """Counts the time of one piece of work."""

    def __init__(self) -> None:
        """Begin now."""
        self._since = perf_counter()

    async def take(self) -> None:
        """Let the loop run if it was held long enough; to be called after every step."""
        if perf_counter() - self._since >= HOLD_S:
            await asyncio.sleep(0)
            self._since = perf_counter()
