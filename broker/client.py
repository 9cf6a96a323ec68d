"""The client of nats-py with a short way for what is hot, and a ``flush`` that keeps the order.

A round trip through ``nc.request`` and a callback costs 29 µs of CPU at both ends together; with
what is here, and the inbox, 14. ``broker.parser`` is the way in, ``broker.transport`` the socket.
Out, nats-py enters four coroutines for every message; here, a plain one goes straight to the
socket. Whatever is not hot goes nats-py's own way: headers, publishing while disconnected or under
back-pressure.

This reaches into nats-py: its version is pinned, and should it change inside, messages come its own
way, for every taker has a callback too (``tests/broker/test_client.py`` tells).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from broker.parser import HotParser, Taker, text
from broker.transport import HotTransport

logger = logging.getLogger(__name__)

_LINE_END = b"\r\n"
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
        self._ps = HotParser(self, self.takers)
        self._transport: HotTransport = HotTransport(self._ps)

    async def subscribe_taker(self, subject: str, take: Taker, queue: str = "") -> Subscription:
        """Subscribe, and hand over messages the moment they are read; those with headers too."""

        async def receive(message: Msg) -> None:
            take(message.subject, message.data, message.reply)

        return self.add_taker(await self.subscribe(subject, queue, cb=receive), take)

    def add_taker(self, subscription: Subscription, take: Taker) -> Subscription:
        """Hand over a subscription's messages by ``take``, but for those with headers."""
        self.takers[subscription._id] = take  # noqa: SLF001 - it has no public name
        return subscription

    def drop_taker(self, subscription: Subscription) -> None:
        """Let nobody have a subscription's messages the moment they are read any more."""
        self.takers.pop(subscription._id, None)  # noqa: SLF001 - as above

    def call_later(self, callback: Callable[[], None]) -> None:
        """Call something once when all that is sent in this turn of the loop has been written."""
        self._transport.call_later(callback)

    def send(self, subject: str, payload: bytes, reply: str) -> bool:
        """Send one message, or return False: nats-py has to, or to refuse it."""
        transport = self._transport
        # What nats-py has yet to write goes first. The server ends a connection that publishes too
        # much at once, or to no subject.
        if (
            self._pending
            or not subject
            or self._status != Client.CONNECTED
            or len(payload) > self._max_payload
            or transport.unwritten_bytes > _MAX_UNWRITTEN_BYTES
        ):
            return False
        line = f"PUB {subject} {reply} {len(payload)}\r\n".encode()
        transport.send(b"".join((line, payload, _LINE_END)))
        return True

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send one message; see nats-py."""
        if headers is not None or not self.send(subject, payload, reply):
            await super().publish(subject, payload, reply, headers)

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
            take(text(subject), data, text(reply))
            return
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except UnicodeDecodeError:
            logger.warning("a message is dropped: its subject or reply is not UTF-8")
