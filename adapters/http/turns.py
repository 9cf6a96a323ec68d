"""Limits how much of an adapter's work is done in one turn of the event loop, fairly by lanes.

When the answers to a flood arrive together, all of them would be written in one turn of the loop,
and a request of another lane waits for that at each of its steps. Instead, so many steps are done
in a turn, and the lanes with further ones take turns: the deployments and virtual environments. A
lane without waiting steps gets one more in each turn, so a few requests beside a flood do not wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from broker.runtime.fair_share import Lane

MOST_STEPS = 64
"""Steps in one turn of the loop: a millisecond or two. Fewer would cost throughput."""
_FEW_STEPS = 16
"""So many steps are counted whatever their turns.

A callback for each turn costs 3 % of the throughput.
"""


class Turns:
    """The steps of an adapter: a request to send, a part of an answer to write, a client's leaving.

    A step is ``if not turns.take(lane): await turns.wait(lane)`` before its work.
    """

    __slots__ = ("_count", "_loop", "_served", "_waiting")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._count = 0
        # In the order of the lanes' next steps.
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {}
        # Lanes that got one more step in this turn.
        self._served: set[Lane] = set()

    def take(self, lane: Lane) -> bool:
        """Return whether a step may be done in this turn of the loop; else it has to wait."""
        self._count = count = self._count + 1
        if count == _FEW_STEPS:
            self._loop.call_soon(self._begin_turn)
        if count <= MOST_STEPS:
            return True
        served = self._served
        if lane in self._waiting or lane in served or len(served) >= MOST_STEPS:
            return False
        served.add(lane)
        return True

    async def wait(self, lane: Lane) -> None:
        """Wait until a step of a lane may be done."""
        await self._wait(lane)

    def call(self, lane: Lane, step: Callable[[], object]) -> None:
        """Do a step of a lane now, or as soon as it may be done."""
        if self.take(lane):
            step()
        else:
            self._wait(lane).add_done_callback(lambda _: step())

    def _wait(self, lane: Lane) -> asyncio.Future[None]:
        waiter = self._loop.create_future()
        self._waiting.setdefault(lane, deque()).append(waiter)
        return waiter

    def _begin_turn(self) -> None:
        self._count = 0
        self._served.clear()
        while self._waiting and self._count < MOST_STEPS:
            lane, waiters = next(iter(self._waiting.items()))
            del self._waiting[lane]
            waiter = waiters.popleft()
            if waiters:
                # After those of the other lanes.
                self._waiting[lane] = waiters
            if not waiter.done():
                self._count += 1
                waiter.set_result(None)
        if self._count >= _FEW_STEPS:
            self._loop.call_soon(self._begin_turn)
