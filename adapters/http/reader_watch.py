"""Watches whether the client reads a response, and aborts the connection if it does not.

What counts is data that waits: bytes that the client's system has not acknowledged. A client to
which nothing is sent may be silent for as long as it likes.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import struct
import termios
from collections.abc import Callable
from typing import Self

from adapters.http.limits import HttpLimits
from adapters.http.pace import Pace, describe_slowness
from kubefox.errors import BodyTooSlow, DeadlineExceeded, FoxError
from kubefox.refusal import Refusal

_STEPS = 4
"""Least number of looks within the time that a client may not read."""


class ReaderWatch:
    """The watch over the reader of one response, from entry to exit of the context.

    Args:
        transport: Connection to the client.
        limits: Of the adapter.
        on_progress: Called now and then while a client that is behind reads.
        limit_s: Time after which the response is cut off in any case.

    Attributes:
        written_bytes: Bytes that were written; the writer counts them.
        failure: Why the connection was aborted.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        limits: HttpLimits,
        on_progress: Callable[[], object] | None = None,
        limit_s: float = math.inf,
    ) -> None:
        self._transport, self._limits = transport, limits
        self._on_progress = on_progress
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(limits.write_timeout_s, limits.min_bytes_per_s)
        self._step_s = min(limits.write_progress_s, limits.write_timeout_s / _STEPS)
        self._limit_s, self._end_s = limit_s, self._loop.time() + limit_s
        self._timer: asyncio.TimerHandle | None = None
        # Bytes of earlier responses are read before those of this one.
        self.written_bytes = unread_bytes(transport)
        self._due_bytes, self._read_bytes = self.written_bytes, 0
        self.failure: FoxError | None = None

    def __enter__(self) -> Self:
        self._look_later()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(self._step_s, self._look)

    def _look(self) -> None:
        if self._transport.is_closing():
            return
        read_bytes = self.written_bytes - unread_bytes(self._transport)
        if read_bytes >= self._due_bytes:
            # The client has read all that waited when the step began.
            self._pace.reset()
        else:
            moved_bytes = read_bytes - self._read_bytes
            self._pace.note(self._step_s, moved_bytes)
            if moved_bytes and self._on_progress is not None:
                self._on_progress()
        self._read_bytes, self._due_bytes = read_bytes, self.written_bytes
        self.failure = self._failure()
        if self.failure is not None:
            self._transport.abort()
        else:
            self._look_later()

    def _failure(self) -> FoxError | None:
        if self._pace.is_over:
            limits = self._limits
            return BodyTooSlow(
                f"the client did not read its response for {limits.write_timeout_s:g} s"
                + describe_slowness("read", limits.min_bytes_per_s),
                refusal=Refusal.CLIENT_TOO_SLOW,
            )
        if self._loop.time() > self._end_s:
            return DeadlineExceeded(f"the response was open for {self._limit_s:g} s")
        return None


def unread_bytes(transport: asyncio.Transport) -> int:
    """Return how many bytes wait to be sent, or to be acknowledged by the client's system."""
    waiting = transport.get_write_buffer_size()
    try:
        # On Linux, for a socket, this is SIOCOUTQ; see tcp(7).
        queued = fcntl.ioctl(
            transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4)
        )
    except OSError:
        return waiting
    return waiting + int(struct.unpack("i", queued)[0])
