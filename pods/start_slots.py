"""Slots for pods that start at the same time; the most urgent of the waiting pods gets the next."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from itertools import count

Urgency = Callable[[], int]
"""Returns how urgent a start is now: the lowest first."""


class StartSlots:
    """Bounds the number of pods that start at the same time.

    Args:
        slots: How many may start at once.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._numbers = count()
        self._waiting: dict[asyncio.Future[None], tuple[Urgency, int]] = {}

    @contextlib.asynccontextmanager
    async def hold(self, urgency: Urgency) -> AsyncIterator[None]:
        """Wait for a slot, and hold it for the length of the context.

        Args:
            urgency: Asked each time when a slot is free; starts of one urgency keep their order.
        """
        await self._acquire(urgency)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, urgency: Urgency) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = urgency, next(self._numbers)
        try:
            await turn
        except asyncio.CancelledError:
            if self._waiting.pop(turn, None) is None:
                # It got its slot in the turn of the loop in which it was cancelled.
                self._release()
            raise

    def _release(self) -> None:
        # A waiting start that was cancelled removes itself in its next turn.
        waiting = [turn for turn in self._waiting if not turn.done()]
        if not waiting:
            self._free += 1
            return
        turn = min(waiting, key=self._order)
        del self._waiting[turn]
        turn.set_result(None)

    def _order(self, turn: asyncio.Future[None]) -> tuple[int, int]:
        urgency, number = self._waiting[turn]
        return urgency(), number
