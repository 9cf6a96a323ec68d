"""The client of nats-py with a short way for what is hot, and a ``flush`` that keeps the order.

A round trip through ``nc.request`` and a callback costs 29 µs of CPU at both ends together; with
what is here, and the inbox, 15. For every message nats-py matches seven regular expressions, makes
an object, queues it and wakes a task, and for every publish it enters four coroutines. Here, whole
messages at the head of what was read go to their *taker* at once, and a plain publish goes straight
to the buffer that nats-py writes from. Whatever is not hot goes nats-py's own way: messages with
headers or in two parts, other commands, publishing while disconnected or under back-pressure.

This reaches into nats-py: its version is pinned, and should it change inside, messages come its own
way, for every taker has a callback too (``tests/broker/test_client.py`` tells).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

logger = logging.getLogger(__name__)

Taker = Callable[[str, bytes, str], None]
"""Takes a message's subject, payload and reply subject; never waits and never raises."""

_LINE_END = b"\r\n"
_MESSAGE = b"MSG "
_WORDS_WITH_REPLY = 4
# Above this, publishing waits for the socket, as nats-py does it.
_MAX_UNWRITTEN_BYTES = 1 << 20


class HotClient(Client):
    """A client whose hot subscriptions have takers.

    Attributes:
        takers: By subscription id.
        barrier: Returns when the server has processed all that was sent.
    """

    barrier: Callable[[], Awaitable[None]]

    def __init__(self) -> None:
        """Start without takers."""
        super().__init__()
        self.takers: dict[int, Taker] = {}
        self._ps = _HotParser(self)

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send one message; see nats-py."""
        queue = self._flush_queue
        unwritten = self._pending_data_size + len(payload)
        is_plain = headers is None and self.is_connected and unwritten < _MAX_UNWRITTEN_BYTES
        # The server ends a connection that publishes to no subject; nats-py refuses it here.
        if queue is None or not is_plain or len(payload) > self.max_payload or not subject:
            await super().publish(subject, payload, reply, headers)
            return
        line = f"PUB {subject} {reply} {len(payload)}\r\n".encode()
        command = b"".join((line, payload, _LINE_END))
        self._pending.append(command)
        self._pending_data_size += len(command)
        if queue.empty():
            queue.put_nowait(asyncio.get_running_loop().create_future())

    async def flush(self, timeout: int = 0) -> None:  # noqa: ASYNC109 - of nats-py
        """Return when the server has processed all that was sent; draining calls this.

        nats-py's own writes a PING past the commands that still wait to be written: the PONG comes
        before a subscription is made, or given up, and what is sent in between is lost.
        """
        await self.barrier()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        take = self.takers.get(sid)
        if take is not None and not headers:
            take(_text(subject), data, _text(reply))
            return
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except UnicodeDecodeError:
            logger.warning("a message is dropped: its subject or reply is not UTF-8")


class _HotParser(Parser):
    """The parser of nats-py behind one that knows whole messages only."""

    nc: HotClient

    async def parse(self, data: bytes = b"") -> None:
        """Hand over what was read."""
        if not self.buf and self.state == AWAITING_CONTROL_LINE:
            data = data[self._take(data) :]
        if data:
            await super().parse(data)

    def _take(self, data: bytes) -> int:
        """Hand whole messages to their takers until something else comes; return its place."""
        start = 0
        takers = self.nc.takers
        while data.startswith(_MESSAGE, start):
            line_end = data.find(_LINE_END, start)
            if line_end < 0:
                break
            # Subject, subscription, perhaps a reply subject, size.
            words = data[start + len(_MESSAGE) : line_end].split(b" ")
            body = line_end + len(_LINE_END)
            end = body + int(words[-1])
            take = takers.get(int(words[1]))
            if take is None or len(data) < end + len(_LINE_END):
                break
            reply = _text(words[2]) if len(words) == _WORDS_WITH_REPLY else ""
            take(_text(words[0]), data[body:end], reply)
            start = end + len(_LINE_END)
        return start


def _text(subject: bytes) -> str:
    # NATS lets clients use any bytes. An error here would end the reading, and with it all that
    # this process does until the server drops it.
    return subject.decode(errors="replace")
