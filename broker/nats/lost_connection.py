"""Tell whether a lost connection to NATS lost a message, and wait for the next connection.

The two errors differ in what the receiver may have seen, which decides whether a message may be
sent once more: see ``broker.dispatch.event_sender``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kubefox.errors import NatsUnavailable

_LOOK_AGAIN_S = 0.02


class NotSent(NatsUnavailable):
    """There was no connection, and nothing was sent."""


class ConnectionLost(NatsUnavailable):
    """A connection was lost while a request was in flight; the request may have been handled.

    Attributes:
        reply: Reply subject of the request.
    """

    reply = ""


class Reconnecting:
    """Waits for the connection of one process.

    Args:
        is_connected: Returns whether the connection is up.
    """

    def __init__(self, is_connected: Callable[[], bool]) -> None:
        self._is_connected = is_connected
        self._connected = asyncio.Event()

    def lose(self) -> None:
        """Note that the connection is lost."""
        self._connected.clear()

    def regain(self) -> None:
        """Note that there is a connection."""
        self._connected.set()

    async def wait_ready(self, timeout_s: float) -> bool:
        """Return whether there is a connection within ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._is_connected():
                    await self._connected.wait()
                    # nats-py reports a loss some turns of the loop after it happened.
                    if not self._is_connected():
                        await asyncio.sleep(_LOOK_AGAIN_S)
        except TimeoutError:
            return self._is_connected()
        return True
