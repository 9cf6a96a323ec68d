"""How a receiver sends the frames of its answers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextvars import Context

from broker.nats.bus import Bus
from kubefox import codec
from kubefox.errors import BodyTooLarge, ComponentFailed, FoxError, NatsUnavailable
from kubefox.event import ResponseHead

logger = logging.getLogger(__name__)

_MAX_UNSENT = 10_000
_RECONNECT_S = 10.0
"""How long a reply waits for a new connection: its requester may have one to another server."""


class Replies:
    """Sends the replies of one receiver.

    Args:
        bus: Connection to use.
        source: Source of the responses; see ``ResponseHead.source``.
        responder: Number of the process; see ``ResponseHead.responder``.
    """

    def __init__(self, bus: Bus, source: str, responder: int = 0) -> None:
        self._bus = bus
        self._source = source
        self._responder = responder
        self._unsent: deque[tuple[str, bytes]] = deque(maxlen=_MAX_UNSENT)
        self._sending: asyncio.Task[None] | None = None

    def failure(self, error: FoxError) -> bytes:
        """Return the frame of a failure."""
        head = ResponseHead(
            status=0, source=self._source, error=error.to_detail(), responder=self._responder
        )
        return codec.encode(head)

    def send(self, reply_subject: str, frame: bytes) -> None:
        """Send a frame now, or as soon as the bus can send it."""
        if reply_subject and not self._bus.send(reply_subject, frame):
            # One task sends all of them, so the number of tasks is bounded.
            self._unsent.append((reply_subject, frame))
            if self._sending is None:
                # Of no event: see ``HandlerTasks``.
                self._sending = asyncio.create_task(self._send_unsent(), context=Context())

    async def wait_sent(self) -> None:
        """Return when all frames are sent."""
        if self._sending is not None:
            await self._sending

    async def _send_unsent(self) -> None:
        while self._unsent:
            await self.respond(*self._unsent.popleft())
        self._sending = None

    async def respond(self, reply_subject: str, frame: bytes) -> None:
        """Send a frame, and wait until the bus can send it."""
        if not reply_subject:
            return
        await self._bus.wait_ready(_RECONNECT_S)
        try:
            try:
                await self._bus.publish(reply_subject, frame)
            except BodyTooLarge as error:
                # The response is too large, not the request: a failure of the component.
                failure = ComponentFailed(f"response of {self._source}: {error}", hop=self._source)
                await self._bus.publish(reply_subject, self.failure(failure))
        except NatsUnavailable as error:
            # The requester has no connection either, or asks which requests are handled here.
            logger.warning("a response of %s is dropped: %s", self._source, error)
