"""One connection: aiohttp's parser reads its requests, and each is answered in one write.

aiohttp's own server makes a task, a request, a stream writer and a response object with three
coroutines for every request: 10 µs of the 37 µs that a request through NATS costs in all. Here, a
request is the parser's message, and a response is bytes (``response``). Order, limits and timeouts
are those of HTTP/1.1 (RFC 9112): the requests of one connection are answered one after another.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from adapters.http.aiohttp_internals import (
    EMPTY_PAYLOAD,
    HttpProcessingError,
    HttpVersion10,
    ParsingProtocol,
    RawRequestMessage,
    RequestPayloadError,
    StreamReader,
)
from adapters.http.bodies import discard_rest
from adapters.http.capacity import release
from adapters.http.disconnect_probe import probe_later
from adapters.http.framing import choose_framing, connection_header, cut_connection
from adapters.http.limits import HttpLimits
from adapters.http.reader_watch import ReaderWatch
from adapters.http.request import Request
from adapters.http.response import (
    REQUEST_TIMEOUT,
    HttpResponse,
    WrittenResponse,
    has_body,
    render,
    render_head,
)
from adapters.http.stream_writer import StreamWriter
from adapters.http.turns import Turns
from broker.streams.incoming import IncomingStream

logger = logging.getLogger(__name__)

ParseFailure = HttpProcessingError
"""Raised by the parser for bytes that are not a valid request."""

RequestHandler = Callable[[Request], Awaitable[HttpResponse | WrittenResponse]]
"""Answers a request; raises nothing but ConnectionError, when the client is gone."""
ParseFailureHandler = Callable[[ParseFailure], HttpResponse]
"""Answers bytes that are not a valid request."""

_MIN_IDLE_CHECK_S = 0.1

_Pending = tuple[RawRequestMessage | ParseFailure, StreamReader]


class Connection(ParsingProtocol):
    """Serves one client.

    Args:
        handle: Answers a request.
        refuse: Answers bytes that are not a valid request; the connection ends after that.
        connections: Contains this connection while it is open.
        limits: Of the adapter.
        turns: Those of the adapter.

    Attributes:
        serving: The task that answers requests; None before the first request, and after the last.
    """

    def __init__(
        self,
        handle: RequestHandler,
        refuse: ParseFailureHandler,
        connections: OrderedDict[Connection, None],
        limits: HttpLimits,
        turns: Turns,
    ) -> None:
        super().__init__(limits)
        self._handle, self._refuse = handle, refuse
        self._connections = connections
        self._limits, self._turns = limits, turns
        self._max_pending = limits.max_pipelined_requests
        self._pending: deque[_Pending] = deque()
        self._content: StreamReader = EMPTY_PAYLOAD
        self.serving: asyncio.Task[None] | None = None
        self._request_waiter: asyncio.Future[None] | None = None
        self._response_chunks: IncomingStream | None = None
        self._is_closing = self._is_draining = self._is_lingering = False
        self._has_client_ended = self._has_stopped_parsing = False
        self._version = HttpVersion10
        self._idle_since_s = 0.0
        self._idle_timeout_s = limits.idle_timeout_s
        self._timer: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None

    @property
    def has_arrived(self) -> bool:
        """Whether its client can send requests, or could: its handshake, if any, is over."""
        return self._timer is not None

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.serving is None or self._request_waiter is not None

    @property
    def is_unused(self) -> bool:
        """Whether no client waits for an answer."""
        return self._is_lingering or self.is_idle

    @property
    def remote(self) -> str:
        """Address of the client; empty when it is not connected any more."""
        peer = self.transport.get_extra_info("peername") if self.transport else None
        return peer[0] if peer else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for requests."""
        super().connection_made(transport)
        self._connections[self] = None
        self._idle_since_s = self.loop.time()
        self._timer = self.loop.call_later(self._idle_timeout_s, self._check_idle)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End what the client was waiting for, in turns: many clients may leave at once."""
        super().connection_lost(exc)
        self._connections.pop(self, None)
        self._is_closing = True
        self._pending.clear()
        self.drop_parser()
        if self._timer is not None:
            self._timer.cancel()
        self._turns.call("", self._end)

    def _end(self) -> None:
        """End the bodies in both directions, and the waiting for an answer."""
        if not self._content.is_eof():
            self._content.set_exception(ConnectionResetError("the client has disconnected"))
        if self._response_chunks is not None:
            self._response_chunks.close()
        elif self.serving is not None and self._request_waiter is None:
            # Also in the middle of a body: the component may not read it, and would be waited for.
            self.serving.cancel()
        self._resume_serving()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Parse requests, and start to answer them."""
        if self._has_stopped_parsing or self.parse is None:
            return
        try:
            messages, is_upgraded, _ = self.parse(data)
        except ParseFailure as failure:
            self._has_stopped_parsing = True
            self._fail(failure)
        else:
            # The bytes after an upgrade belong to another protocol, and none is served here.
            self._has_stopped_parsing = is_upgraded
            self._pending.extend(messages)
        if len(self._pending) >= self._max_pending and not self.is_reading_held:
            self.hold_reading()
        if self._pending and not self._is_closing:
            if self.serving is None:
                self.serving = self.loop.create_task(self._serve())
            self._resume_serving()

    def eof_received(self) -> bool:
        """Return whether to keep the connection after the client has closed its side of it.

        A client may close its side and still read: complete requests are answered.
        """
        self._has_client_ended = True
        if self._response_chunks is not None:
            # During a streamed response it is taken as a disconnect, as servers and proxies do:
            # no interim response can be written that would show one.
            return False
        if self.is_idle or self.transport is None or not self._last_content.is_eof():
            return False
        probe_later(self.transport, self._may_write_interim)
        return True

    def _may_write_interim(self) -> bool:
        """Whether no final response to a client of HTTP/1.1 has begun."""
        return not self.is_idle and self._response_chunks is None and self._version > HttpVersion10

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            ConnectionResetError: The client is not connected any more.
        """
        if self.transport is None:
            raise ConnectionResetError("the client has disconnected")
        self.transport.write(data)

    def finish(self, idle_grace_s: float) -> None:
        """Close the connection after the requests that have arrived.

        The last response says ``Connection: close``. Without a request there is no response to say
        it, and a client that sends one while the connection is being closed loses it. So an idle
        connection stays open for a request that comes within the grace time.

        Args:
            idle_grace_s: How long the connection may stay idle; 0 closes an idle one at once.
        """
        self._is_draining = True
        self._idle_timeout_s = idle_grace_s
        if self.transport is None:
            return
        self._idle_since_s = self.loop.time()
        if self._timer is not None:
            self._timer.cancel()
        self._check_idle()

    async def wait_closed(self) -> None:
        """Wait until the client is not connected any more and nothing is being answered."""
        if self.transport is not None:
            self._closed = self.loop.create_future()
            await self._closed
        if self.serving is not None:
            await asyncio.wait([self.serving])

    def abort(self) -> None:
        """Close the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    @property
    def _last_content(self) -> StreamReader:
        """The body that is being read from the socket, or was the last one."""
        return self._pending[-1][1] if self._pending else self._content

    def _fail(self, failure: ParseFailure) -> None:
        """Fail the body that is being read, or queue the failure as a request."""
        content = self._last_content
        if content.is_eof():
            self._pending.append((failure, EMPTY_PAYLOAD))
        else:
            content.set_exception(RequestPayloadError(failure.message))

    async def _serve(self) -> None:
        try:
            while await self._answer_pending():
                await self._wait_for_request()
        except ConnectionError as error:
            # The client has disconnected. aiohttp keeps the exception with the body, and with it
            # the frames in its traceback.
            error.with_traceback(None)
            self.abort()
        except Exception:
            logger.exception("an HTTP connection failed and is aborted")
            self.abort()
        finally:
            self._content = EMPTY_PAYLOAD
            self._close()
            # A cancelled task keeps its exception, and with it the frames of the request, which
            # would keep the task: all would stay until the garbage collector runs.
            self.serving = None

    async def _answer_pending(self) -> bool:
        """Answer the requests that have arrived; return whether the connection can be kept."""
        while self._pending:
            message, self._content = self._pending.popleft()
            self._release_pending()
            if not await self._answer(message):
                return False
        return not (self._is_closing or self._has_client_ended)

    async def _wait_for_request(self) -> None:
        """Wait for the next request, or for the end of the connection."""
        self._content = EMPTY_PAYLOAD
        self._idle_since_s = self.loop.time()
        self._request_waiter = self.loop.create_future()
        await self._request_waiter

    def _resume_serving(self) -> None:
        if self._request_waiter is not None:
            self._request_waiter.set_result(None)
            self._request_waiter = None

    async def _answer(self, message: RawRequestMessage | ParseFailure) -> bool:
        """Answer one request; return whether the connection can be kept."""
        if isinstance(message, ParseFailure):
            self.write(render(self._refuse(message), "close", is_head=False))
            return False
        self._version = message.version
        request = Request(message, self._content, self)
        try:
            response = await self._handle(request)
            if isinstance(response, WrittenResponse):
                keeps = response.keeps_connection
            else:
                keeps = self._can_keep(request, response.status)
                connection = connection_header(message, keeps=keeps)
                self.write(render(response, connection, is_head=message.method == "HEAD"))
                if self.writing_paused and self.transport is not None:
                    with ReaderWatch(self.transport, self._limits):
                        await self.wait_writable()
        finally:
            release(request)
        if not self._content.is_eof() and not request.awaits_continue:
            linger_s = 0 if self._has_stopped_parsing else self._limits.linger_timeout_s
            self._is_lingering = True
            keeps = await discard_rest(self._content, linger_s) and keeps
            self._is_lingering = False
        return keeps

    def _can_keep(self, request: Request, status: int) -> bool:
        # After an upgrade that the parser does not know, such as h2c, it loses the bytes that came
        # in the same read, and would take the rest of them for a request.
        is_over = request.message.upgrade or (self._has_stopped_parsing and not self._pending)
        # After 408 the rest of the body may never come (RFC 9110, 15.5.9).
        is_late = status == REQUEST_TIMEOUT
        must_close = request.message.should_close or request.awaits_continue or is_late
        is_last = self._is_draining and not self._pending
        return not (must_close or is_over or is_last or self._is_closing)

    async def stream_response(
        self, request: Request, head: HttpResponse, chunks: IncomingStream, length: int | None
    ) -> WrittenResponse:
        """Write a response in parts; see ``Request.stream_response``."""
        message = request.message
        if not has_body(head, is_head=message.method == "HEAD"):
            chunks.close()
            return self._write_head_only(request, head, length)
        framing = choose_framing(message.version, length)
        keeps = framing.has_end and self._can_keep(request, head.status)
        self.write(render_head(head, connection_header(message, keeps=keeps), framing.line))
        self._response_chunks = chunks
        try:
            writer = StreamWriter(self, self._limits, self._turns, request.lane)
            await writer.write(chunks, framing)
        except BaseException:
            if self.transport is not None:
                cut_connection(self.transport, framing)
            raise
        finally:
            self._response_chunks = None
        return WrittenResponse(head.status, keeps)

    def _write_head_only(
        self, request: Request, head: HttpResponse, length: int | None
    ) -> WrittenResponse:
        message, line = request.message, ""
        if message.method == "HEAD":
            line = "" if length is None else f"content-length: {length}\r\n"
        elif head.status == HTTPStatus.RESET_CONTENT:
            line = "content-length: 0\r\n"
        keeps = self._can_keep(request, head.status)
        self.write(render_head(head, connection_header(message, keeps=keeps), line))
        return WrittenResponse(head.status, keeps)

    def _release_pending(self) -> None:
        """Make room for another request, and read from the socket again if reading was held."""
        if self.message_consumed is None:
            return
        self.message_consumed()
        if self.is_reading_held and len(self._pending) <= self._max_pending // 2:
            # Bytes that the parser has kept come before those that are still in the socket.
            self.data_received(b"")
            if len(self._pending) < self._max_pending:
                self.release_reading()

    def _check_idle(self) -> None:
        left_s = self._idle_since_s + self._idle_timeout_s - self.loop.time()
        if left_s <= 0 and self.is_idle:
            self._close()
        else:
            again_s = left_s if left_s > 0 else max(self._idle_timeout_s, _MIN_IDLE_CHECK_S)
            self._timer = self.loop.call_later(again_s, self._check_idle)

    def _close(self) -> None:
        if self.transport is None:
            return
        self.transport.close()
        if self._timer is not None:
            self._timer.cancel()
        # The transport closes when the client has read everything, which may be never.
        left = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(self._limits.write_timeout_s, self._abort_if_stuck, left)

    def _abort_if_stuck(self, before: int) -> None:
        """Abort, unless the client has read some of its responses meanwhile."""
        if self.transport is None:
            return
        left = self.transport.get_write_buffer_size()
        if left >= before:
            self.abort()
        else:
            self._timer = self.loop.call_later(
                self._limits.write_timeout_s, self._abort_if_stuck, left
            )
