"""Bodies that are made while they are sent: by a handler, by a caller, from a socket.

What makes them runs only as far as the receiver has granted credit, and ends with the stream: it is
cancelled where it waits, and closed, when the receiver wants no more or is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable
from types import TracebackType
from typing import Any

from broker.breath import Breath
from broker.stream import Meter, NotWanted, Outgoing, renewed
from broker.streams import Streams
from model.codec import Body
from model.errors import ComponentFailed, FoxError, StreamBroken

logger = logging.getLogger(__name__)

Chunks = AsyncIterable[bytes | bytearray | memoryview | str]
"""What a body is made of while it is sent; text goes as UTF-8, an empty one is a sign of life."""


class Streamed:
    """A body that is made while it is sent.

    Args:
        chunks: Of the body; they are closed when it is over, if they can be.
        keep_alive: Sent when there is nothing else for a while; empty sends nothing.

    Attributes:
        chunks: As they were given.
        keep_alive: As it was given.
        meter: Counts the chunks.
        on_end: Called once, when it is over, with what ended it early.
    """

    def __init__(self, chunks: Chunks, keep_alive: bytes = b"") -> None:
        """Make nothing yet."""
        self.chunks = chunks
        self.keep_alive = keep_alive
        self.meter: Meter | None = None
        self.on_end: Callable[[BaseException | None], object] | None = None

    async def close(self, error: BaseException | None = None) -> None:
        """Say that it is over, also if it never began."""
        try:
            await _close(self.chunks)
        finally:
            on_end, self.on_end = self.on_end, None
            if on_end is not None:
                on_end(error)


async def once(body: Body) -> AsyncIterator[Body]:
    """Yield a whole body as the only chunk of a stream."""
    yield body


async def pour(chunks: Chunks, stream: Outgoing) -> None:
    """Send chunks as they are made, under credit, then the end; none is made before it is wanted.

    When the stream breaks, or the receiver wants no more, this task is cancelled inside ``chunks``,
    which are closed in any case. That nobody wants more is no failure.

    Raises:
        FoxError: The stream broke.
        Exception: Whatever ``chunks`` raise; the stream is still open then.
    """
    interruption = _Interruption(stream)
    breath = Breath()
    try:
        with interruption:
            await stream.wait_opened()
            async for chunk in chunks:
                await stream.send(chunk.encode() if isinstance(chunk, str) else chunk)
                # One that never waits itself holds up all others.
                await breath.take()
            await stream.end()
    except NotWanted:
        return
    finally:
        await _close(chunks)


class _Interruption:
    """Cancels the task that enters it when its stream breaks, and raises the reason instead."""

    def __init__(self, stream: Outgoing) -> None:
        self._stream = stream
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False
        self._cancellations = 0

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        # A handler may have taken no notice of an earlier one.
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
            raise renewed(self._stream.error) or NotWanted from None

    def _cancel(self) -> None:
        if self._task is not None and not self._is_cancelled:
            self._is_cancelled = True
            self._task.cancel()


async def _close(chunks: Chunks) -> None:
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()


async def deliver(body: Streamed, outgoing: Outgoing, source: str, event_id: str) -> None:
    """Send the body of an answer whose head is sent; what goes wrong is told there, and logged.

    Args:
        body: Closed when this returns.
        outgoing: That the head names.
        source: Who answers, as in ``Response.source``.
        event_id: For the log.
    """
    outgoing.meter, outgoing.keep_alive = body.meter, body.keep_alive
    failure: BaseException | None = None
    try:
        await pour(body.chunks, outgoing)
    except FoxError as error:
        logger.warning("the answer to event %s was cut: %s", event_id, error)
        outgoing.fail(error)
        failure = error
    except GeneratorExit:
        raise
    except BaseException as error:
        logger.exception("the answer to event %s was cut", event_id)
        detail = f"{source} failed; its log tells why"
        outgoing.fail(ComponentFailed(detail, hop=source))
        failure = error
    finally:
        outgoing.drop()
        await body.close(failure)


class Upload:
    """The body of a request, sent while the request waits for its answer.

    Entering begins, leaving ends it, also when the answer came before all was sent. What ``chunks``
    raise is told to the receiver, and raised when it is left.

    Args:
        streams: Of the process.
        chunks: Of the body.
        component: Subject of the component that the request goes to.
        meter: Counts them.

    Attributes:
        outgoing: The stream; its subject goes into the event's head.
    """

    def __init__(
        self, streams: Streams, chunks: Chunks, component: str, meter: Meter | None = None
    ) -> None:
        """Send nothing yet."""
        self._chunks = chunks
        self._task: asyncio.Task[None] | None = None
        self.outgoing = streams.send(component)
        self.outgoing.meter = meter

    async def __aenter__(self) -> Outgoing:
        """Begin to send as soon as it is asked for."""
        self._task = asyncio.create_task(self._run())
        return self.outgoing

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send no more."""
        task, self._task = self._task, None
        if task is None:
            return
        self.outgoing.drop()
        task.cancel()
        await asyncio.wait([task])
        failure = None if task.cancelled() else task.exception()
        if failure is not None and (error is None or isinstance(error, FoxError)):
            raise failure.with_traceback(None) from None

    async def _run(self) -> None:
        try:
            await pour(self._chunks, self.outgoing)
        except FoxError as error:
            self.outgoing.fail(error)
        except BaseException:
            self.outgoing.fail(StreamBroken("the sender of a body left it unfinished"))
            raise
