"""What can wait until the loop has nothing else to do.

A process that serves is idle between what it has sent and what comes back, even under load: what
is done then, nobody waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

QUIET_S = 20e-6
"""A turn of the loop that is over sooner brought nothing else to do."""
PATIENCE = 8
"""How many turns to wait for such a one."""


class Idle:
    """Calls something when the loop is idle; made within the loop.

    The loop's own clock would not do: uvloop's goes by milliseconds.
    """

    def __init__(self) -> None:
        """Begin with nothing to call."""
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Callable[[], None]] = []
        self._turn_s, self._patience = 0.0, 0

    def call(self, callback: Callable[[], None]) -> None:
        """Call something once when there is nothing else to do, or before long anyway."""
        if not self._waiting:
            self._turn_s, self._patience = monotonic(), PATIENCE
            self._loop.call_soon(self._look)
        self._waiting.append(callback)

    def _look(self) -> None:
        now_s = monotonic()
        if self._patience and now_s - self._turn_s > QUIET_S:
            self._turn_s = now_s
            self._patience -= 1
            self._loop.call_soon(self._look)
            return
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each()
