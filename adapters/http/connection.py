"""One connection: aiohttp's parser reads its requests, and each is answered in one write.

aiohttp's own server makes a task, a request, a stream writer and a response object with three
coroutines for every request: 10 µs of the 37 that a request through NATS costs in all. Here, a
request is what its parser says, and an answer is bytes (``answer``). Order, limits and times are
those of HTTP/1.1 (RFC 9112): requests of one connection are answered one after another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, HttpVersion10, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web import RequestPayloadError

from adapters.http.answer import Answer, has_body, render, render_head
from adapters.http.parts import Framing, choose, cut
from adapters.http.request import MAX_HEADERS, MAX_HEADERS_BYTES, MAX_TARGET_BYTES, Request
from broker.stream import Incoming
from model.codec import Body

logger = logging.getLogger(__name__)

MAX_WAITING = 32
"""Requests that a client may send before the first of them is answered; then reading waits."""
IDLE_S = 75.0
"""How long a connection may go without a whole request head; proxies let go of theirs after 60."""
WRITE_S = 60.0
"""How long a client may take to make room for an answer."""
TOUCH_S = 5.0
"""How often who sends a body is told that a slow client still takes some of it."""
LINGER_S = 10.0
"""How long what is left of a refused body is read, so that the client sees why it was refused."""
_READ_BYTES = 64 * 1024

Failure = HttpProcessingError
"""Why something is no request."""

_Arrived = tuple[RawRequestMessage | Failure, StreamReader]


Handle = Callable[[Request], Awaitable[Answer]]
"""Answers a request; it raises nothing but ConnectionError, when the client has left."""
Refuse = Callable[[Failure], Answer]
"""Answers what is no request."""


class Connection(BaseProtocol):
    """Serves one client.

    Args:
        handle: Answers a request.
        refuse: Answers what is none; the connection ends with it.
        connections: Holds this one as long as it is open.

    Attributes:
        serving: The task that answers, from the first request on.
    """

    def __init__(self, handle: Handle, refuse: Refuse, connections: set[Connection]) -> None:
        """Prepare; the loop calls the rest."""
        loop = asyncio.get_running_loop()
        parser = HttpRequestParser(
            self,
            loop,
            _READ_BYTES,
            max_line_size=MAX_TARGET_BYTES,
            max_field_size=MAX_HEADERS_BYTES,
            max_headers=MAX_HEADERS,
            payload_exception=RequestPayloadError,
            # A body is the component's: what it says of its encoding must stay true.
            auto_decompress=False,
            max_msg_queue_size=MAX_WAITING,
        )
        super().__init__(loop, parser)
        self._handle, self._refuse = handle, refuse
        self._connections = connections
        self._arrived: deque[_Arrived] = deque()
        self._content: StreamReader = EMPTY_PAYLOAD
        self.serving: asyncio.Task[None] | None = None
        self._resting: asyncio.Future[None] | None = None
        self._chunks: Incoming | None = None
        self._is_last = False
        self._has_ended = False
        self._is_unreadable = False
        self._idle_since_s = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being answered."""
        return self.serving is None or self._resting is not None

    @property
    def remote(self) -> str:
        """Address of the client, or empty."""
        peer = self.transport.get_extra_info("peername") if self.transport else None
        return peer[0] if peer else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for requests."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._connections.add(self)
        self._idle_since_s = self._loop.time()
        self._idle_timer = self._loop.call_later(IDLE_S, self._check_idle)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let bodies that are on their way end; what is yet to be answered goes on, for nobody."""
        super().connection_lost(exc)
        self._connections.discard(self)
        self._is_last = True
        self._arrived.clear()
        self._parser = None
        if self._chunks is not None:
            self._chunks.close()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if not self._content.is_eof():
            self._content.set_exception(ConnectionResetError("the client has left"))
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Take requests in, and begin to answer."""
        if self._is_unreadable or self._parser is None:
            return
        try:
            messages, is_upgraded, _ = self._parser.feed_data(data)
        except Failure as failure:
            self._is_unreadable = True
            self._fail(failure)
        else:
            # What follows is no HTTP any more, and nothing that is served here.
            self._is_unreadable = is_upgraded
            self._arrived.extend(messages)
        if len(self._arrived) >= MAX_WAITING and not self._buffer_paused:
            self._pause_reading_for_buffer()
        if self._arrived and not self._is_last:
            if self.serving is None:
                self.serving = self._loop.create_task(self._serve())
            self._wake()

    def eof_received(self) -> bool:
        """Answer what has arrived whole; a client may close its side and still listen."""
        self._has_ended = True
        if self._chunks is not None:
            # Who leaves looks like who will only listen. In mid-answer it is the former: servers
            # and proxies all take it so, and without a word to send nothing would tell.
            return False
        is_whole = self._last_content.is_eof()
        return is_whole and not self.is_idle

    def write(self, data: bytes) -> None:
        """Send something.

        Raises:
            ConnectionResetError: The client has left.
        """
        if self.transport is None:
            raise ConnectionResetError("the client has left")
        self.transport.write(data)

    def finish(self) -> None:
        """Answer what is being answered, and end."""
        self._is_last = True
        if self.is_idle:
            self._close()

    def abort(self) -> None:
        """End now."""
        if self.transport is not None:
            self.transport.abort()

    @property
    def _last_content(self) -> StreamReader:
        """The body that is being read from the socket, or was the last one."""
        return self._arrived[-1][1] if self._arrived else self._content

    def _fail(self, failure: Failure) -> None:
        """Let the body that breaks off fail, or else answer what is no request."""
        content = self._last_content
        if content.is_eof():
            self._arrived.append((failure, EMPTY_PAYLOAD))
        else:
            content.set_exception(RequestPayloadError(failure.message))

    async def _serve(self) -> None:
        try:
            while await self._answer_all():
                await self._rest()
        except ConnectionError as error:
            # The client has left. aiohttp keeps the error with the body, and so the frames it
            # came through.
            error.with_traceback(None)
            self.abort()
        except Exception:
            logger.exception("a connection failed")
            self.abort()
        finally:
            self._content = EMPTY_PAYLOAD
            self._close()

    async def _answer_all(self) -> bool:
        """Answer what has arrived; return whether more may come."""
        while self._arrived:
            message, self._content = self._arrived.popleft()
            self._make_room()
            if not await self._answer(message):
                return False
        return not (self._is_last or self._has_ended)

    async def _rest(self) -> None:
        """Wait for the next request, or for the end."""
        self._content = EMPTY_PAYLOAD
        self._idle_since_s = self._loop.time()
        self._resting = self._loop.create_future()
        await self._resting

    def _wake(self) -> None:
        if self._resting is not None:
            self._resting.set_result(None)
            self._resting = None

    async def _answer(self, message: RawRequestMessage | Failure) -> bool:
        """Answer one request; return whether the connection can be kept."""
        if isinstance(message, Failure):
            self.write(render(self._refuse(message), "close", is_head=False))
            return False
        request = Request(message, self._content, self)
        answer = await self._handle(request)
        keeps = request.keeps
        if keeps is None:
            keeps = self._can_keep(request)
            connection = _connection(message, keeps=keeps)
            self.write(render(answer, connection, is_head=message.method == "HEAD"))
            if self._paused:
                await self._wait_written()
        if not self._content.is_eof() and not request.is_uninvited:
            keeps = await self._linger() and keeps
        return keeps

    def _can_keep(self, request: Request) -> bool:
        # After an upgrade that it does not know, such as h2c, the parser loses what came in the
        # same read: the rest of it would be taken for a request.
        is_over = request.message.upgrade or (self._is_unreadable and not self._arrived)
        must_close = request.message.should_close or request.is_uninvited
        return not (must_close or is_over or self._is_last)

    async def answer(
        self, request: Request, answer: Answer, chunks: Incoming, length: int | None
    ) -> None:
        """Write an answer in parts; see ``Request.answer``."""
        message = request.message
        if not has_body(answer, is_head=message.method == "HEAD"):
            chunks.close()
            request.keeps = self._can_keep(request)
            is_head, is_known = message.method == "HEAD", length is not None
            line = f"content-length: {length}\r\n" if is_head and is_known else ""
            if not is_head and answer.status == HTTPStatus.RESET_CONTENT:
                line = "content-length: 0\r\n"
            self.write(render_head(answer, _connection(message, keeps=request.keeps), line))
            return
        framing = choose(message.version, length)
        request.keeps = framing.has_end and self._can_keep(request)
        self.write(render_head(answer, _connection(message, keeps=request.keeps), framing.line))
        try:
            await self._write_chunks(chunks, framing)
        except BaseException:
            request.keeps = False
            if self.transport is not None:
                cut(self.transport, framing)
            raise

    async def _write_chunks(self, chunks: Incoming, framing: Framing) -> None:
        self._chunks = chunks
        try:
            async for chunk in chunks:
                self._write_parts(framing.parts(chunk))
                if self._paused:
                    await self._wait_written(chunks)
        finally:
            self._chunks = None
        self._write_parts(framing.end())

    def _write_parts(self, parts: tuple[Body, ...]) -> None:
        if self.transport is None:
            raise ConnectionResetError("the client has left")
        if parts:
            self.transport.writelines(parts)

    def _make_room(self) -> None:
        if self._parser is None:
            return
        self._parser.message_consumed()
        if self._buffer_paused and len(self._arrived) <= MAX_WAITING // 2:
            # What was read and waits in the parser comes first.
            self.data_received(b"")
            if len(self._arrived) < MAX_WAITING:
                self._resume_reading_for_buffer()

    async def _wait_written(self, chunks: Incoming | None = None) -> None:
        """Return when the client has made room; ``chunks`` are told that it is at least slow."""
        transport, waited_s, left = self.transport, 0.0, -1
        while transport is not None:
            left, before = transport.get_write_buffer_size(), left
            if left < before:
                waited_s = 0.0
                if chunks is not None:
                    chunks.touch()
            if waited_s >= WRITE_S:
                self.abort()
                raise ConnectionResetError("the client takes no answer")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(TOUCH_S, WRITE_S)):
                    await self._drain_helper()
                    return
            # aiohttp keeps the future that it waits on, and this one has been cancelled.
            self._drain_waiter = None
            waited_s += TOUCH_S
        raise ConnectionResetError("the client has left")

    async def _linger(self) -> bool:
        """Read what is left of a body and return whether all of it came."""
        if self._is_unreadable:
            return False
        try:
            async with asyncio.timeout(LINGER_S):
                while not self._content.is_eof():
                    await self._content.readany()
        except (TimeoutError, RequestPayloadError):
            return False
        return True

    def _check_idle(self) -> None:
        left_s = self._idle_since_s + IDLE_S - self._loop.time()
        if left_s <= 0 and self.is_idle:
            self._close()
        else:
            again_s = left_s if left_s > 0 else IDLE_S
            self._idle_timer = self._loop.call_later(again_s, self._check_idle)

    def _close(self) -> None:
        if self.transport is None:
            return
        self.transport.close()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        # It is not lost before the client has taken its answers, and that may be never.
        left = self.transport.get_write_buffer_size()
        self._idle_timer = self._loop.call_later(WRITE_S, self._abort_if_stuck, left)

    def _abort_if_stuck(self, before: int) -> None:
        """End now, unless the client has taken some of its answers meanwhile."""
        if self.transport is None:
            return
        left = self.transport.get_write_buffer_size()
        if left >= before:
            self.abort()
        else:
            self._idle_timer = self._loop.call_later(WRITE_S, self._abort_if_stuck, left)


def _connection(message: RawRequestMessage, *, keeps: bool) -> str:
    """Return the value of the Connection header, or empty for what is understood."""
    if not keeps:
        return "close"
    return "keep-alive" if message.version == HttpVersion10 else ""
