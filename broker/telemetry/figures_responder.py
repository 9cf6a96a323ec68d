"""Answers control's requests for the figures of this process.

A request that goes to every pod wakes every pod: with 500 of them each scrape costs more than all
else at rest. An idle pod has no new figures, so it stops to listen after its answer, and listens
again before it handles its next event. Control still knows its figures from its last answer; it
asks all processes when it starts, and from time to time, in case that an answer was lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from broker.nats.bus import Bus
from kubefox import subjects
from kubefox.errors import FoxError

logger = logging.getLogger(__name__)


class FiguresResponder:
    """Answers requests for the figures of one process.

    Args:
        bus: Connection of the process.
        answer: Sends the figures to control, and returns the number of events in flight.

    Attributes:
        is_resting: Whether only the requests to all processes are answered.
    """

    def __init__(self, bus: Bus, answer: Callable[[], Awaitable[int]]) -> None:
        self._bus = bus
        self._answer = answer
        self._is_idle: Callable[[], bool] | None = None
        self._was_used = False
        self._stop_listening: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._changes: set[asyncio.Task[None]] = set()
        self.is_resting = False

    async def start(self) -> None:
        """Answer requests from now on."""
        await self._bus.serve(subjects.ALL_FIGURES, self._answer_all)
        await self._listen()
        self._bus.on_reconnect(self._on_reconnect)

    def rest_while(self, is_idle: Callable[[], bool]) -> None:
        """Rest after an answer that shows no event since the one before, if ``is_idle``.

        Args:
            is_idle: Returns whether no event is in flight, also none that is not counted yet.
        """
        self._is_idle = is_idle

    def wake(self) -> None:
        """End the rest; to be called before an event is handled while no other is in flight.

        The answer to the event is sent later on the same connection, so a request that follows it
        is received.
        """
        self._was_used = True
        if self.is_resting:
            self.is_resting = False
            self._start(self._listen())

    async def _on_reconnect(self) -> None:
        self.wake()

    async def _listen(self) -> None:
        subscription = await self._bus.serve(subjects.FIGURES, self._answer_request)
        self._stop_listening = partial(self._bus.stop_serving, subscription)

    async def _answer_all(self, _payload: bytes, _reply: str) -> None:
        await self._answer()

    async def _answer_request(self, _payload: bytes, _reply: str) -> None:
        was_used, self._was_used = self._was_used, False
        in_flight = await self._answer()
        if was_used or self._was_used or in_flight:
            return
        if self._is_idle is None or not self._is_idle() or self._stop_listening is None:
            return
        stop_listening, self._stop_listening = self._stop_listening, None
        self.is_resting = True
        # In a task of its own: it waits for the end of this callback.
        self._start(stop_listening())

    def _start(self, change: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._on_changed)

    def _on_changed(self, task: asyncio.Task[None]) -> None:
        self._changes.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self.is_resting = True
            level = logging.DEBUG if isinstance(failure, FoxError) else logging.ERROR
            logger.log(level, "figures are sent to control later", exc_info=failure)
