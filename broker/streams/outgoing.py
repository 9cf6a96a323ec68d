"""The end of a stream that sends."""

from __future__ import annotations

from collections.abc import Callable

from broker.streams.endpoint import EndpointOwner, StreamEndpoint, fresh_copy
from kubefox import stream as protocol
from kubefox.codec import Body
from kubefox.stream import Frame, Sending

OPEN_TIMEOUT_S = 10.0
"""How long a response body waits until its requester begins to read it."""
KEEP_ALIVE_S = 15.0
"""Silence after which a stream that has a keep-alive chunk sends it."""


class ReceiverClosed(Exception):
    """The receiver closed the stream; this is not a failure."""


class OutgoingStream(StreamEndpoint):
    """The end of a stream that sends; made by ``StreamRegistry.open_outgoing``.

    Its subject goes into the head of the event or response whose body it sends.

    Attributes:
        on_break: Called when the stream breaks, whatever the reason.
        keep_alive: Chunk to send after ``KEEP_ALIVE_S`` of silence; empty sends none.
    """

    _core: Sending
    _description = "a body that is being sent"

    def __init__(self, owner: EndpointOwner, component: str, open_timeout_s: float | None) -> None:
        super().__init__(owner, Sending(), "", component)
        self._open_timeout_s = open_timeout_s
        self._is_sending = False
        self.on_break: Callable[[], object] | None = None
        self.keep_alive = b""

    @property
    def is_opened(self) -> bool:
        """Whether the receiver has begun to read."""
        return self._core.is_opened

    async def wait_opened(self) -> None:
        """Return when the receiver begins to read.

        Raises:
            ReceiverClosed: The receiver closed the stream.
            FoxError: The stream broke.
        """
        self._check()
        while not self._core.is_opened:
            await self._wait()
            self._check()

    async def send(self, data: Body) -> None:
        """Send some bytes and return when all of them are on their way.

        Empty data is sent as an empty chunk, which counts as progress.

        Raises:
            ReceiverClosed: The receiver closed the stream.
            FoxError: The stream broke.
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

    def check_progress(self, idle_timeout_s: float) -> None:
        """Send the keep-alive chunk when it is due; see ``StreamEndpoint.check_progress``."""
        silence_s = self._owner.now_s - self.progress_s
        is_silent = silence_s > min(KEEP_ALIVE_S, idle_timeout_s / 2)
        # Not while ``send`` is at work: the keep-alive chunk would cut a server-sent event in two.
        if is_silent and self.keep_alive and not self._is_sending and self._core.has_credit:
            self.progress_s = self._owner.now_s
            frame, _ = self._core.chunk(memoryview(self.keep_alive))
            self._owner.send_soon(self._peer, frame, self.subject)
        super().check_progress(idle_timeout_s)

    def abort(self) -> None:
        """Stop sending; a receiver that waits for more gets the end of the stream."""
        if self.is_open:
            self.on_break = None
            self._core.reset()
            self._owner.unregister(self)
            if self._peer:
                self._owner.send_soon(self._peer, protocol.encode_reset(None))

    async def end(self) -> None:
        """Send the end of the body.

        Raises:
            ReceiverClosed: The receiver closed the stream.
            FoxError: The stream broke.
        """
        self._check()
        await self._post(self._core.end())
        self._owner.unregister(self)

    def _check(self) -> None:
        if self.is_broken:
            raise fresh_copy(self.error) or ReceiverClosed

    async def _post(self, frame: bytes) -> None:
        self.progress_s = self._owner.now_s
        carrier = self._owner.carrier
        if not carrier.send(self._peer, frame, self.subject):
            await carrier.publish(self._peer, frame, self.subject)

    def _receive_frame(self, frame: Frame) -> None:
        self._core.receive(frame)

    def _idle_limit_s(self, idle_timeout_s: float) -> float:
        is_waiting = self._open_timeout_s is not None and not self._core.is_opened
        return self._open_timeout_s if is_waiting and self._open_timeout_s else idle_timeout_s

    def _on_ended(self) -> None:
        if self.is_broken and self.on_break is not None:
            self.on_break()
