"""The common part of both ends of a stream: frames, time-outs, and how an end breaks.

``kubefox.stream`` is the protocol without I/O; an endpoint adds tasks and time to it, and
``broker.streams.registry`` adds subjects. When one end breaks, the other end breaks at once:

- The other process is gone. NATS answers the next frame with "no responders", and an endpoint that
  has received nothing for a while sends a ping.
- The connection is lost. Frames may be lost with it, so every stream of the process breaks.
- Neither a chunk nor credit has moved for the idle time-out. The first end that notices breaks.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from broker.runtime.fair_share import Lane
from broker.streams.transit import GrantedStream
from kubefox import stream as protocol
from kubefox import subjects
from kubefox.errors import ComponentGone, DeadlineExceeded, FoxError, StreamBroken, from_detail
from kubefox.stream import Frame, FrameKind, Receiving, Sending, State


class Meter(Protocol):
    """Counts the chunks of a stream."""

    def count(self, size_bytes: int) -> None:
        """Count a chunk."""


class Carrier(Protocol):
    """Sends frames; ``broker.nats.bus.Bus`` implements it."""

    def send(self, subject: str, payload: bytes, reply: str = "") -> bool:
        """Send one message without waiting; return False if only ``publish`` can send it."""

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send one message."""


class EndpointOwner(Protocol):
    """The part of the registry that an endpoint uses.

    Attributes:
        loop: Event loop of the endpoint's tasks.
        carrier: Sends frames.
        ping_after_s: Silence of the other end after which the endpoint sends a ping.
    """

    loop: asyncio.AbstractEventLoop
    carrier: Carrier
    ping_after_s: float

    @property
    def now_s(self) -> float:
        """The loop's time."""

    def register(self, endpoint: StreamEndpoint) -> str:
        """Return a new subject whose frames the endpoint receives from now on."""

    def unregister(self, endpoint: StreamEndpoint) -> None:
        """Stop passing frames to an endpoint that has ended."""

    def reserve_window(self, lane: Lane) -> int:
        """Return the memory for the window of a new receiving endpoint of a lane, in bytes."""

    def ask_credit(self, stream: GrantedStream) -> None:
        """Give a stream credit, now or in its turn."""

    def note_arrival(self, stream: GrantedStream, size_bytes: int) -> None:
        """Take into account that a chunk has arrived."""

    def send_soon(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send a frame now, or as soon as the connection accepts it."""


class StreamEndpoint:
    """One end of a stream.

    Attributes:
        subject: Where the other end sends its frames.
        component: Subject of the component at the other end; empty if it is not a component. The
            stream breaks when the last pod of the component dies.
        meter: Counts chunks, if there is one.
        progress_s: Loop time of the last chunk or credit.
        heard_s: Loop time of the last frame from the other end.
        ended_s: Loop time at which the stream ended; before that, when it began.
    """

    _description = "the stream"

    def __init__(
        self, owner: EndpointOwner, core: Sending | Receiving, peer: str, component: str
    ) -> None:
        self._owner = owner
        self._core = core
        self._peer = peer
        self._waiter: asyncio.Future[None] | None = None
        self.component = component
        self.meter: Meter | None = None
        self.subject = owner.register(self)
        self.progress_s = self.heard_s = self.ended_s = owner.now_s

    @property
    def peer(self) -> str:
        """Subject of the other end; empty until its first frame came, if this end sends."""
        return self._peer

    @property
    def is_open(self) -> bool:
        """Whether more frames may follow."""
        return self._core.state is State.OPEN

    def left_s(self, ttl_s: float) -> float:
        """Return the rest of a time that starts when the body ends; all of it until then."""
        return ttl_s if self.is_open else self.ended_s + ttl_s - self._owner.now_s

    @property
    def is_broken(self) -> bool:
        """Whether the stream ended before the end of its body."""
        return self._core.state is State.RESET

    @property
    def error(self) -> FoxError | None:
        """Why the stream broke; None also when the other end closed it without a failure."""
        return self._core.error

    def receive(self, payload: bytes, reply: str) -> None:
        """Handle a frame from the other end."""
        self.heard_s = self._owner.now_s
        self._peer = reply or self._peer
        try:
            frame = protocol.decode(payload)
            self._receive_frame(frame)
        except StreamBroken as error:
            self.fail(error)
            return
        if frame.kind is FrameKind.PING:
            # Neither a reader nor a sender waits for it: a thousand idle streams get 500 a second.
            return
        self.progress_s = self.heard_s
        if self._core.state is not State.OPEN:
            self._owner.unregister(self)
            self._on_ended()
        self._wake()

    def fail(self, error: FoxError, *, notify: bool = True) -> None:
        """Break the stream.

        Args:
            error: Why.
            notify: Whether to send the error to the other end, if its subject is known.
        """
        if self._core.state is not State.OPEN:
            return
        self._core.reset(fresh_copy(error))
        self._owner.unregister(self)
        if notify and self._peer:
            self._owner.send_soon(self._peer, protocol.encode_reset(error))
        self._on_ended()
        self._wake()

    def peer_gone(self) -> None:
        """Break the stream because the other end no longer exists."""
        hop = self.hop
        self.fail(
            ComponentGone(f"{hop or 'the other end'} of a stream is gone", hop=hop), notify=False
        )

    def check_progress(self, idle_timeout_s: float) -> None:
        """Break a stream that makes no progress; send a ping if the other end is silent."""
        now_s = self._owner.now_s
        limit_s = self._idle_limit_s(idle_timeout_s)
        if now_s - self.progress_s > limit_s:
            detail = f"{self._description} made no progress for {limit_s:g} s"
            self.fail(DeadlineExceeded(detail, hop=self.hop))
        elif self._peer and now_s - self.heard_s > self._owner.ping_after_s:
            self._owner.send_soon(self._peer, protocol.encode(FrameKind.PING), self.subject)

    @property
    def hop(self) -> str:
        """Name of the component at the other end, or empty."""
        return subjects.hop(self.component) if self.component else ""

    def _receive_frame(self, frame: Frame) -> None:
        # Not an abstract class: every request checks whether its content is a stream, and
        # ``isinstance`` takes three times as long for children of an ABC.
        raise NotImplementedError

    def _idle_limit_s(self, idle_timeout_s: float) -> float:
        return idle_timeout_s

    def _on_ended(self) -> None:
        """Run when the other end has ended or broken the stream, or ``fail`` has."""

    async def _wait(self) -> None:
        self._waiter = self._owner.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def fresh_copy(error: FoxError | None) -> FoxError | None:
    """Return a copy of an error that was never raised.

    The traceback of a raised error refers to frames, and those to the stream that keeps the error.
    Only the garbage collector would free that cycle, and it counts objects, not their bytes.
    """
    return from_detail(error.to_detail()) if error else None
