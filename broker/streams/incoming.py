"""The end of a stream that receives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

from broker.runtime.fair_share import Lane
from broker.streams.endpoint import EndpointOwner, StreamEndpoint, fresh_copy
from kubefox import stream as protocol
from kubefox.codec import Body
from kubefox.errors import StreamBroken
from kubefox.stream import CHUNK_COST_BYTES, MIN_WINDOW_BYTES, Frame, FrameKind, Receiving, State


class IncomingStream(StreamEndpoint):
    """The end of a stream that receives; made by ``StreamRegistry.open_incoming``.

    Iterating it yields the chunks. Its owner must close it. It grants no credit, so the other end
    sends nothing, before the first chunk is requested.

    Attributes:
        lane: Deployment and virtual environment; see ``FairShare``.
        transit_bytes: Bytes that are on their way here; see ``Transit``.
        on_close: Called once, when the stream is closed.
        wake_in_turn: Calls a step that lets the reader go on, in its turn: many chunks may arrive
            together. None lets it go on at once.
        has_waited: Whether the reader has waited for the latest chunk.
    """

    _core: Receiving
    _description = "a body that is being received"

    def __init__(self, owner: EndpointOwner, peer: str, component: str, lane: Lane) -> None:
        self.lane = lane
        self.reserved_bytes = owner.reserve_window(lane)
        self.window_bytes = self.reserved_bytes or MIN_WINDOW_BYTES
        self.transit_bytes = 0
        super().__init__(owner, Receiving(self.window_bytes), peer, component)
        self._is_closed = False
        self._is_waking = False
        self.has_waited = False
        self.wake_in_turn: Callable[[Callable[[], object]], object] | None = None
        self.on_close: Callable[[], object] | None = None
        self.on_gathered: Callable[[], Awaitable[None]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[Body]:
        return self

    async def __anext__(self) -> Body:
        """Return the next chunk; an empty one is a keep-alive.

        Raises:
            StopAsyncIteration: The body has ended, or this end is closed.
            FoxError: The stream broke; the rest of the body will not come.
        """
        self.has_waited = False
        while True:
            data = self._core.next_chunk()
            self._grant()
            if data is not None:
                if not self.is_open:
                    # All of it has arrived, but the reader is not done yet.
                    self.ended_s = self._owner.now_s
                if self.meter is not None:
                    self.meter.count(len(data))
                return data
            if self._core.state is State.ENDED or self._is_closed:
                raise StopAsyncIteration
            if self._core.state is State.RESET:
                raise fresh_copy(self.error) or _aborted(self.hop)
            await self._wait()
            self.has_waited = True

    async def discard(self) -> None:
        """Read the stream to its end without keeping anything, then close it.

        Raises:
            FoxError: The stream broke.
        """
        with self:
            async for _ in self:
                pass

    def close(self) -> None:
        """Stop reading: reset a sender that is not done, and end a waiting iteration."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._core.state is State.OPEN:
            self._core.reset()
            self._owner.unregister(self)
            self._owner.send_soon(self._peer, protocol.encode_reset(None))
        self._core.clear()
        self._wake()
        if self.on_close is not None:
            self.on_close()

    def report_progress(self) -> None:
        """Repeat the credit, which counts as progress at both ends: the reader is only slow."""
        if self.is_open:
            self.progress_s = self._owner.now_s
            self._owner.send_soon(self._peer, self._core.credit(), self.subject)

    @property
    def wanted_bytes(self) -> int:
        """Credit that the other end should get now, in bytes."""
        return self._core.wanted_bytes

    @property
    def has_credit_sent(self) -> bool:
        """Whether the other end has got credit."""
        return self._core.granted_bytes > 0

    def send_credit(self, more_bytes: int) -> None:
        """Send credit to the other end; ``Transit`` calls this."""
        credit = self._core.grant(more_bytes)
        if credit is not None:
            self.progress_s = self._owner.now_s
            self._owner.send_soon(self._peer, credit, self.subject)

    def _grant(self) -> None:
        if self._core.wanted_bytes:
            self._owner.ask_credit(self)

    def _wake(self) -> None:
        if self.wake_in_turn is None:
            super()._wake()
        elif self._waiter is not None and not self._is_waking:
            self._is_waking = True
            self.wake_in_turn(self._wake_now)

    def _wake_now(self) -> None:
        self._is_waking = False
        super()._wake()

    def _receive_frame(self, frame: Frame) -> None:
        self._core.receive(frame)
        if frame.kind is FrameKind.CHUNK:
            self._owner.note_arrival(self, len(frame.data) + CHUNK_COST_BYTES)


def _aborted(hop: str) -> StreamBroken:
    return StreamBroken("the sender aborted the body", hop=hop)
