"""Turns: a burst of requests begins one request in each turn of the event loop."""

from __future__ import annotations

import asyncio


class Turns:
    """Lets requests begin one after another, each in a turn of the event loop of its own.

    The loop runs all that is ready before it reads from sockets again. Of 500 requests that arrive
    together, it would decode and check all in one turn, and other work would wait for that.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Return when it is the turn of this request, in the order of the calls."""
        async with self._lock:
            await asyncio.sleep(0)
