"""A lock for the emitted events that a pod runs: an event under suspicion runs alone.

An event whose earlier attempt ran while its pod died may be the cause. It waits until the emitted
events that run in this pod have ended, and those that come after it wait until it has ended. If
its pod dies again, no other event has begun.
"""

from __future__ import annotations

import asyncio
from collections import deque


class RunLock:
    """A fair lock that many events share, or one event holds alone."""

    def __init__(self) -> None:
        self._running = 0
        self._is_one_alone = False
        self._waiting: deque[tuple[bool, asyncio.Future[None]]] = deque()

    async def acquire(self, *, is_alone: bool) -> None:
        """Return when the event may run; ``release`` must be called when it has ended."""
        if not self._waiting and self._fits(is_alone=is_alone):
            self._start(is_alone=is_alone)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((is_alone, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release(is_alone=is_alone)
            else:
                self._start_waiting()
            raise

    def release(self, *, is_alone: bool) -> None:
        """Release the lock of an event that has ended, and start the events that may run now."""
        self._running -= 1
        if is_alone:
            self._is_one_alone = False
        self._start_waiting()

    def _fits(self, *, is_alone: bool) -> bool:
        return not self._is_one_alone and not (is_alone and self._running)

    def _start(self, *, is_alone: bool) -> None:
        self._running += 1
        self._is_one_alone = is_alone

    def _start_waiting(self) -> None:
        while self._waiting:
            is_alone, waiter = self._waiting[0]
            if not waiter.cancelled():
                if not self._fits(is_alone=is_alone):
                    return
                self._start(is_alone=is_alone)
                waiter.set_result(None)
            self._waiting.popleft()
