"""Counts the questions that a process sends to pods."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from broker.nats.bus import Bus


class Questions:
    """Counts questions."""

    def __init__(self) -> None:
        self.count = 0
        self._asked = asyncio.Event()

    async def follow(self, bus: Bus, subject: str) -> None:
        """Count those on a subject from now on, beside the pods that serve it."""
        await bus.serve(subject, self.note)
        await bus.flush()

    async def note(self, _question: bytes, reply: str) -> None:
        """Count a message, if it is a question."""
        self.count += bool(reply)
        self._asked.set()

    async def wait(self, count: int, requests: Iterable[asyncio.Task[bytes]] = ()) -> bool:
        """Return whether so many more questions come before one of the requests ends."""
        ended = asyncio.Event()
        for request in requests:
            request.add_done_callback(lambda _: self._end(ended))
        end = self.count + count
        while self.count < end and not ended.is_set():
            self._asked.clear()
            await self._asked.wait()
        return not ended.is_set()

    def _end(self, ended: asyncio.Event) -> None:
        ended.set()
        self._asked.set()
