"""Send bodies that are produced while they are sent: by a handler, a caller, or a socket.

The producer runs only as far as the receiver has granted credit. When the receiver closes the
stream or is gone, the producer is cancelled where it waits, and closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable
from types import TracebackType
from typing import Any

from broker.runtime.cooperative import TimeSlice
from broker.streams.endpoint import Meter, fresh_copy
from broker.streams.outgoing import OutgoingStream, ReceiverClosed
from broker.streams.registry import StreamRegistry
from kubefox.codec import Body
from kubefox.errors import ComponentFailed, FoxError, StreamBroken

logger = logging.getLogger(__name__)

Chunks = AsyncIterable[bytes | bytearray | memoryview | str]
"""The chunks of a body; text is sent as UTF-8, an empty chunk is a keep-alive."""


class StreamedBody:
    """A body that is produced while it is sent.

    Args:
        chunks: Chunks of the body; closed at its end, if they have ``aclose``.
        keep_alive: Chunk to send when there is nothing else for a while; empty sends none.

    Attributes:
        chunks: Chunks of the body.
        keep_alive: Chunk to send when there is nothing else for a while.
        meter: Counts the chunks.
        on_end: Called once, at the end of the body, with the error that ended it early.
        on_closed: Called once after that.
    """

    def __init__(self, chunks: Chunks, keep_alive: bytes = b"") -> None:
        self.chunks = chunks
        self.keep_alive = keep_alive
        self.meter: Meter | None = None
        self.on_end: Callable[[BaseException | None], object] | None = None
        self.on_closed: Callable[[], object] | None = None

    async def close(self, error: BaseException | None = None) -> None:
        """Close the chunks and call ``on_end``, also when nothing was sent."""
        try:
            await _close(self.chunks)
        finally:
            on_end, self.on_end = self.on_end, None
            if on_end is not None:
                on_end(error)
            on_closed, self.on_closed = self.on_closed, None
            if on_closed is not None:
                on_closed()


async def single_chunk(body: Body) -> AsyncIterator[Body]:
    """Yield a whole body as the only chunk of a stream."""
    yield body


async def send_chunks(chunks: Chunks, stream: OutgoingStream) -> None:
    """Send chunks as they are produced, under credit, then the end of the body.

    No chunk is requested before there is credit for it. When the stream breaks or the receiver
    closes it, this task is cancelled inside ``chunks``. The chunks are closed in any case. A
    receiver that closes the stream is not a failure.

    Raises:
        FoxError: The stream broke.
        Exception: Raised by ``chunks``; the stream is still open then.
    """
    cancellation = _CancelOnBreak(stream)
    time_slice = TimeSlice()
    try:
        with cancellation:
            await stream.wait_opened()
            async for chunk in chunks:
                await stream.send(chunk.encode() if isinstance(chunk, str) else chunk)
                # A producer that never waits would block all other tasks.
                await time_slice.checkpoint()
            await stream.end()
    except ReceiverClosed:
        return
    finally:
        await _close(chunks)


class _CancelOnBreak:
    """Cancels the task that enters it when its stream breaks, and raises the reason instead."""

    def __init__(self, stream: OutgoingStream) -> None:
        self._stream = stream
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False
        self._cancellations = 0

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        # A handler may have ignored an earlier cancellation.
        self._cancellations = task.cancelling() if task else 0
        self._stream.on_break = self._cancel

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.on_break = None
        if not self._is_cancelled or self._task is None:
            return
        is_ours = self._task.uncancel() <= self._cancellations
        if is_ours and isinstance(error, asyncio.CancelledError):
            raise fresh_copy(self._stream.error) or ReceiverClosed from None

    def _cancel(self) -> None:
        if self._task is not None and not self._is_cancelled:
            self._is_cancelled = True
            self._task.cancel()


async def _close(chunks: Chunks) -> None:
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()


async def send_response_body(
    body: StreamedBody, outgoing: OutgoingStream, source: str, event_id: str
) -> None:
    """Send the body of a response whose head was sent; log a failure and send it to the receiver.

    Args:
        body: Body to send; it is closed when this returns.
        outgoing: Stream that the head names.
        source: Component that responds, as in the head of the response.
        event_id: Id of the event, for the log.
    """
    outgoing.meter, outgoing.keep_alive = body.meter, body.keep_alive
    failure: BaseException | None = None
    try:
        await send_chunks(body.chunks, outgoing)
    except FoxError as error:
        logger.warning("the answer to event %s was cut off: %s", event_id, error)
        outgoing.fail(error)
        failure = error
    except GeneratorExit:
        raise
    except BaseException as error:
        logger.exception("the answer to event %s was cut off", event_id)
        detail = f"{source} failed; see its log"
        outgoing.fail(ComponentFailed(detail, hop=source))
        failure = error
    finally:
        outgoing.abort()
        await body.close(failure)


class BodySender:
    """Sends the body of a request while the request waits for its response.

    Sending starts when the context is entered and stops when it is left, even if the response came
    before the whole body was sent. An error that ``chunks`` raise is sent to the receiver, and
    raised again when the context is left.

    Args:
        streams: Registry of the process.
        chunks: Chunks of the body.
        component: Subject of the component that the request is sent to.
        meter: Counts the chunks.

    Attributes:
        outgoing: The stream; its subject goes into the event's head.
    """

    def __init__(
        self, streams: StreamRegistry, chunks: Chunks, component: str, meter: Meter | None = None
    ) -> None:
        self._chunks = chunks
        self._task: asyncio.Task[None] | None = None
        self.outgoing = streams.open_outgoing(component)
        self.outgoing.meter = meter

    async def __aenter__(self) -> OutgoingStream:
        self._task = asyncio.create_task(self._run())
        return self.outgoing

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        self.outgoing.abort()
        task.cancel()
        await asyncio.wait([task])
        failure = None if task.cancelled() else task.exception()
        if failure is not None and (error is None or isinstance(error, FoxError)):
            raise failure.with_traceback(None) from None

    async def _run(self) -> None:
        try:
            await send_chunks(self._chunks, self.outgoing)
        except FoxError as error:
            self.outgoing.fail(error)
        except BaseException:
            self.outgoing.fail(StreamBroken("the sender did not finish the body"))
            raise
