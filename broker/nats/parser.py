"""The parser of nats-py behind a fast one that handles whole messages only.

For every message nats-py matches seven regular expressions, makes an object, queues it and wakes a
task. The fast parser passes whole messages at the front of the data to the fast-path callback of
their subscription at once. It leaves everything else to nats-py: messages with headers, messages
that were read in pieces, and all other commands.

A subscription that reads a whole stream has a *raw* callback. It gets messages with headers too,
as bytes: nats-py takes 15 µs and more to parse the headers of one, and a bucket has 300,000.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

MessageCallback = Callable[[str, bytes, str], None]
"""Receives a message's subject, payload and reply subject; never waits and never raises."""

RawCallback = Callable[[bytes, bytes, bytes, bytes], None]
"""Receives a message's subject, reply subject, headers and payload; never waits, never raises."""

_LINE_END = b"\r\n"
_MESSAGE = b"MSG "
_HEADED_MESSAGE = b"HMSG "
_FIELDS_WITH_REPLY = 4


class FastPathParser(Parser):
    """Parses for one client.

    Args:
        client: nats-py's client; receives what the fast parser leaves.
        callbacks: Fast-path callbacks, by subscription id.
        raw_callbacks: Raw callbacks, by subscription id.
    """

    def __init__(
        self,
        client: Any,
        callbacks: dict[int, MessageCallback],
        raw_callbacks: dict[int, RawCallback],
    ) -> None:
        super().__init__(client)
        self._callbacks = callbacks
        self._raw_callbacks = raw_callbacks
        self._is_parsing = False

    @property
    def is_between_commands(self) -> bool:
        """Whether the next byte begins a command, and nats-py is not parsing an earlier one."""
        return not (self._is_parsing or self.buf) and self.state == AWAITING_CONTROL_LINE

    async def parse(self, data: bytes = b"") -> None:
        """Parse what nats-py's read loop has read."""
        if self.is_between_commands:
            data = data[self.deliver(data) :]
        if not data:
            return
        self._is_parsing = True
        try:
            await super().parse(data)
        finally:
            self._is_parsing = False

    def deliver(self, data: bytes) -> int:
        """Pass the whole messages at the front of ``data`` to their callbacks.

        Returns:
            Where the first other command begins, or the first message that is not whole.
        """
        start = self._deliver(data, 0)
        if self._raw_callbacks:
            while (end := self._deliver_raw(data, start)) > start:
                start = self._deliver(data, end)
        return start

    def deliver_buffered(self) -> None:
        """Take whole messages off the front of nats-py's buffer, after a message that it parsed.

        Otherwise nats-py would parse all that was read with the end of a message, and mostly end
        within the next one, and so on: a whole bucket would be read the slow way.
        """
        if self.buf:
            del self.buf[: self.deliver(bytes(self.buf))]

    def _deliver(self, data: bytes, start: int) -> int:
        callbacks = self._callbacks
        while data.startswith(_MESSAGE, start):
            line_end = data.find(_LINE_END, start)
            if line_end < 0:
                break
            # Subject, subscription id, optionally a reply subject, size.
            fields = data[start + len(_MESSAGE) : line_end].split(b" ")
            body = line_end + len(_LINE_END)
            end = body + int(fields[-1])
            callback = callbacks.get(int(fields[1]))
            if callback is None or len(data) < end + len(_LINE_END):
                break
            reply = decode_subject(fields[2]) if len(fields) == _FIELDS_WITH_REPLY else ""
            callback(decode_subject(fields[0]), data[body:end], reply)
            start = end + len(_LINE_END)
        return start

    def _deliver_raw(self, data: bytes, start: int) -> int:
        """Pass messages to raw callbacks, as ``deliver`` does."""
        while True:
            has_headers = data.startswith(_HEADED_MESSAGE, start)
            if not has_headers and not data.startswith(_MESSAGE, start):
                return start
            line_end = data.find(_LINE_END, start)
            if line_end < 0:
                return start
            # Command, subject, subscription id, optionally a reply subject, with headers their
            # size, size.
            fields = data[start:line_end].split(b" ")
            body = line_end + len(_LINE_END)
            end = body + int(fields[-1])
            callback = self._raw_callbacks.get(int(fields[2]))
            if callback is None or len(data) < end + len(_LINE_END):
                return start
            payload = body + int(fields[-2]) if has_headers else body
            has_reply = len(fields) == _FIELDS_WITH_REPLY + 1 + has_headers
            reply = fields[3] if has_reply else b""
            callback(fields[1], reply, data[body:payload], data[payload:end])
            start = end + len(_LINE_END)


def decode_subject(subject: bytes) -> str:
    """Return a subject as text, even if it is not UTF-8.

    NATS allows any bytes. A decoding error here would end nats-py's read loop, and the process
    would receive nothing until the server disconnects it.
    """
    return subject.decode(errors="replace")
