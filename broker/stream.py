"""The two ends of a stream: where a body is sent, and where it is read.

``model.stream`` has the protocol; here it gets tasks and time, in ``broker.streams`` subjects. What
ends a stream early ends both ends of it, at once:

- The other process is gone: NATS says so of the next frame (no responders), and an end that has
  heard nothing for a while asks for it by a ping.
- The connection is lost: frames may be, so every stream of the process breaks.
- No progress for ``idle_s``, neither a chunk nor credit: whichever end sees it first gives up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from model import stream as protocol
from model import subjects
from model.codec import Body
from model.errors import (
    ComponentGone,
    DeadlineExceeded,
    FoxError,
    StreamBroken,
    from_detail,
)
from model.stream import Frame, Kind, Receiving, Sending, State

if TYPE_CHECKING:
    from broker.streams import Streams

IDLE_S = 60.0
OPEN_S = 10.0
"""How long an answer may wait for a requester that was told of it and does not begin to read."""
LOOK_S = 2.0
"""How often ends that hear nothing ask whether anybody is there."""
KEEP_ALIVE_S = 15.0
"""How long a stream that has a sign of life goes without one."""


class Meter(Protocol):
    """Counts what a stream carries."""

    def count(self, size_bytes: int) -> None:
        """Count a chunk."""


class NotWanted(Exception):
    """The receiver of a stream wants no more of it; nobody has failed."""


class Half:
    """One end of a stream.

    Attributes:
        subject: Where its partner sends to.
        component: Subject of the component at the other end, whose last pod may die; or empty.
        meter: Counts chunks, if there is one.
        progress_s: Time of the loop of the last chunk or credit.
        heard_s: Of the last frame from the other end.
        ended_s: At which it ended, once it has.
    """

    _what = "the stream"

    def __init__(
        self, streams: Streams, core: Sending | Receiving, peer: str, component: str
    ) -> None:
        """Enter the table; its subject gets frames from now on."""
        self._streams = streams
        self._core = core
        self._peer = peer
        self._waiter: asyncio.Future[None] | None = None
        self.component = component
        self.meter: Meter | None = None
        self.subject = streams.enter(self)
        self.progress_s = self.heard_s = self.ended_s = streams.now_s

    @property
    def is_open(self) -> bool:
        """Whether more of it is to come."""
        return self._core.state is State.OPEN

    def left_s(self, ttl_s: float) -> float:
        """Return what is left of a time that begins when the body is over: all of it until then."""
        return ttl_s if self.is_open else self.ended_s + ttl_s - self._streams.now_s

    @property
    def is_broken(self) -> bool:
        """Whether it ended before its end."""
        return self._core.state is State.RESET

    @property
    def error(self) -> FoxError | None:
        """Why it is broken; None as well when the other side just wants no more."""
        return self._core.error

    def receive(self, payload: bytes, reply: str) -> None:
        """Take a frame from the other end."""
        self.heard_s = self._streams.now_s
        self._peer = reply or self._peer
        try:
            frame = protocol.decode(payload)
            self._take(frame)
        except StreamBroken as error:
            self.fail(error)
            return
        if frame.kind is not Kind.PING:
            self.progress_s = self.heard_s
        if self._core.state is not State.OPEN:
            self._streams.leave(self)
            self._broken_off()
        self._wake()

    def fail(self, error: FoxError, *, tells: bool = True) -> None:
        """Break, and tell the other end if it is there to be told."""
        if self._core.state is not State.OPEN:
            return
        self._core.reset(renewed(error))
        self._streams.leave(self)
        if tells and self._peer:
            self._streams.post(self._peer, protocol.encode_reset(error))
        self._broken_off()
        self._wake()

    def gone(self) -> None:
        """Break: nobody is there any more."""
        hop = self.hop
        self.fail(
            ComponentGone(f"{hop or 'the other end'} of a stream is gone", hop=hop), tells=False
        )

    def look(self, idle_s: float) -> None:
        """Give up without progress, or ask for a sign of life."""
        now_s = self._streams.now_s
        if now_s - self.progress_s > self._patience_s(idle_s):
            told = f"{self._what} made no progress for {self._patience_s(idle_s):g} s"
            self.fail(DeadlineExceeded(told, hop=self.hop))
        elif self._peer and now_s - self.heard_s > LOOK_S:
            self._streams.post(self._peer, protocol.encode(Kind.PING), self.subject)

    @property
    def hop(self) -> str:
        """Name of the component at the other end, or empty."""
        return subjects.hop(self.component) if self.component else ""

    def _take(self, frame: Frame) -> None:
        # No abstract class: whether content is a stream is asked on every request's path, and of
        # an ABC's children that takes three times as long.
        raise NotImplementedError

    def _patience_s(self, idle_s: float) -> float:
        return idle_s

    def _broken_off(self) -> None:
        """Tell who is at work on it that it has ended, maybe early."""

    async def _wait(self) -> None:
        self._waiter = self._streams.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Outgoing(Half):
    """The end that sends; made by ``Streams.send``.

    Its subject goes into the head of the event or response whose body it is.

    Attributes:
        on_break: Called when it breaks, by whatever.
        keep_alive: Sent when nothing else was for a while, if it is not empty.
    """

    _core: Sending
    _what = "a body that is being sent"

    def __init__(self, streams: Streams, component: str, open_s: float | None) -> None:
        """Wait for credit; see ``Streams.send``."""
        super().__init__(streams, Sending(), "", component)
        self._open_s = open_s
        self._is_sending = False
        self.on_break: Callable[[], object] | None = None
        self.keep_alive = b""

    async def wait_opened(self) -> None:
        """Return when the receiver begins to read.

        Raises:
            NotWanted: It does not want to.
            FoxError: The stream is broken.
        """
        self._check()
        while not self._core.is_opened:
            await self._wait()
            self._check()

    async def send(self, data: Body) -> None:
        """Send some bytes and return when all of them are on their way; none are a sign of life.

        Raises:
            NotWanted: The receiver wants no more.
            FoxError: The stream is broken.
        """
        self._is_sending = True
        try:
            rest = memoryview(data)
            while True:
                self._check()
                if not self._core.has_credit:
                    await self._wait()
                    continue
                frame, size = self._core.chunk(rest)
                await self._post(frame)
                if self.meter is not None:
                    self.meter.count(size)
                rest = rest[size:]
                if not rest:
                    return
        finally:
            self._is_sending = False

    def look(self, idle_s: float) -> None:
        """Send a sign of life when it is time for one; see ``Half.look``."""
        is_silent = self._streams.now_s - self.progress_s > min(KEEP_ALIVE_S, idle_s / 2)
        # Not within what is being sent: an event would be cut in two by it.
        if is_silent and self.keep_alive and not self._is_sending and self._core.has_credit:
            self.progress_s = self._streams.now_s
            frame, _ = self._core.chunk(memoryview(self.keep_alive))
            self._streams.post(self._peer, frame, self.subject)
        super().look(idle_s)

    def drop(self) -> None:
        """Send no more; a receiver that waits for more is told that there is none."""
        if self.is_open:
            self.on_break = None
            self._core.reset()
            self._streams.leave(self)
            if self._peer:
                self._streams.post(self._peer, protocol.encode_reset(None))

    async def end(self) -> None:
        """Say that this was all.

        Raises:
            NotWanted: The receiver wants no more.
            FoxError: The stream is broken.
        """
        self._check()
        await self._post(self._core.end())
        self._streams.leave(self)

    def _check(self) -> None:
        if self.is_broken:
            raise renewed(self.error) or NotWanted

    async def _post(self, frame: bytes) -> None:
        self.progress_s = self._streams.now_s
        carrier = self._streams.carrier
        if not carrier.send(self._peer, frame, self.subject):
            await carrier.publish(self._peer, frame, self.subject)

    def _take(self, frame: Frame) -> None:
        self._core.receive(frame)

    def _patience_s(self, idle_s: float) -> float:
        is_waiting = self._open_s is not None and not self._core.is_opened
        return self._open_s if is_waiting and self._open_s else idle_s

    def _broken_off(self) -> None:
        if self.is_broken and self.on_break is not None:
            self.on_break()


class Incoming(Half):
    """The end that receives: iterating it gives the chunks. Whoever was given it closes it.

    Made by ``Streams.receive``. Nothing is granted, and so nothing sent, before the first chunk is
    asked for.

    Attributes:
        on_close: Called once, when it is closed.
    """

    _core: Receiving
    _what = "a body that is being received"

    def __init__(self, streams: Streams, peer: str, component: str) -> None:
        """Wait to be read; see ``Streams.receive``."""
        self.window_bytes = streams.reserve()
        super().__init__(streams, Receiving(self.window_bytes), peer, component)
        self._is_closed = False
        self.on_close: Callable[[], object] | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def __aiter__(self) -> AsyncIterator[Body]:
        """Return itself: what was taken does not come again."""
        return self

    async def __anext__(self) -> Body:
        """Return the next chunk; an empty one is a sign of life.

        Raises:
            StopAsyncIteration: That was all.
            FoxError: The rest will never come.
        """
        while True:
            data = self._core.take()
            self._grant()
            if data is not None:
                if not self.is_open:
                    # All of it has come, but who reads it is still at it.
                    self.ended_s = self._streams.now_s
                if self.meter is not None:
                    self.meter.count(len(data))
                return data
            if self._core.state is State.ENDED or self._is_closed:
                raise StopAsyncIteration
            if self._core.state is State.RESET:
                raise renewed(self.error) or _given_up(self.hop)
            await self._wait()

    async def discard(self) -> None:
        """Take all that comes and keep nothing of it; it is closed then.

        Raises:
            FoxError: The rest will never come.
        """
        with self:
            async for _ in self:
                pass

    def close(self) -> None:
        """Take no more; a sender that is not done is told so. Who waits for a chunk gets none."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._core.state is State.OPEN:
            self._core.reset()
            self._streams.leave(self)
            self._streams.post(self._peer, protocol.encode_reset(None))
        self._core.clear()
        self._wake()
        if self.on_close is not None:
            self.on_close()

    def touch(self) -> None:
        """Tell the sender that what it sent is still being taken, if slowly: that is progress."""
        if self.is_open:
            self.progress_s = self._streams.now_s
            self._streams.post(self._peer, self._core.credit(), self.subject)

    def _grant(self) -> None:
        credit = self._core.grant()
        if credit is not None:
            self.progress_s = self._streams.now_s
            self._streams.post(self._peer, credit, self.subject)

    def _take(self, frame: Frame) -> None:
        self._core.receive(frame)


def renewed(error: FoxError | None) -> FoxError | None:
    """Return an error as new.

    A raised one holds the frames it passed through, and with them the stream that holds the error:
    only the garbage collector would free it, which counts objects and not the bytes in them.
    """
    return from_detail(error.to_detail()) if error else None


def _given_up(hop: str) -> StreamBroken:
    return StreamBroken("the sender of a body gave it up", hop=hop)
