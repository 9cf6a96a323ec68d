"""One keep-alive connection of the load generator: a request out, its whole response in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import cast

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)

Answered = Callable[["Connection", int], None]
"""Takes the connection, idle again, and the status; 0 when the connection broke instead."""


class Connection(asyncio.Protocol):
    """A connection that has at most one request under way.

    Args:
        answered: Called for every request that was sent.

    Attributes:
        since_ns: Where the latency of the request under way counts from.
    """

    __slots__ = ("_answered", "_buffer", "_is_busy", "_transport", "since_ns")

    def __init__(self, answered: Answered) -> None:
        """Start idle."""
        self._answered = answered
        self._buffer = b""
        self._is_busy = False
        self.since_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, since_ns: int) -> None:
        """Send a request."""
        self.since_ns = since_ns
        self._is_busy = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Count a response once all of it is here."""
        data = self._buffer + data if self._buffer else data
        end = data.find(_HEAD_END) + 2
        if end < 2:
            self._buffer = data
            return
        length = _LENGTH.search(data, 0, end)
        if length is None:
            raise ValueError(f"a response needs a content-length: {data[:end]!r}")
        if len(data) < end + 2 + int(length[1]):
            self._buffer = data
            return
        self._buffer = b""
        self._is_busy = False
        self._answered(self, int(data[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        """Count what was under way as failed."""
        if self._is_busy:
            self._is_busy = False
            self._answered(self, 0)

    def close(self) -> None:
        """Hang up; what is under way is no failure any more."""
        self._is_busy = False
        self._transport.abort()
