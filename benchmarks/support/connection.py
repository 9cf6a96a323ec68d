"""One keep-alive connection of the load generator: sends a request, receives its response."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import cast

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)

Answered = Callable[["Connection", int], None]
"""Called with the connection, which is idle, and the status; 0 if the connection broke."""


class Connection(asyncio.Protocol):
    """A connection with at most one request in flight.

    Args:
        answered: Called for every request that was sent, at its end.

    Attributes:
        since_ns: Time from which the latency of the current request is counted.
    """

    __slots__ = ("_answered", "_buffer", "_is_busy", "_transport", "since_ns")

    def __init__(self, answered: Answered) -> None:
        self._answered = answered
        self._buffer = b""
        self._is_busy = False
        self.since_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, since_ns: int) -> None:
        """Send a request."""
        self.since_ns = since_ns
        self._is_busy = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Count a response when it is complete."""
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
        """Count the current request as failed."""
        if self._is_busy:
            self._is_busy = False
            self._answered(self, 0)

    def close(self) -> None:
        """Abort the connection; the current request does not count as failed."""
        self._is_busy = False
        self._transport.abort()
