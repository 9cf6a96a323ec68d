"""The parts of aiohttp below its documented API that the HTTP adapter uses.

aiohttp's own server costs 10 µs of the 37 µs of a request, so ``connection`` uses only its parser
and its buffers. All other modules of the adapter get those names from here, and ``INTERNALS`` lists
each with its reason. A test checks the list against the installed aiohttp.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, HttpVersion, HttpVersion10, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web import RequestPayloadError

from adapters.http.limits import HttpLimits

__all__ = [
    "EMPTY_PAYLOAD",
    "INTERNALS",
    "PARSER_ARGUMENTS",
    "HttpProcessingError",
    "HttpVersion",
    "HttpVersion10",
    "Internal",
    "LineTooLong",
    "ParsingProtocol",
    "RawRequestMessage",
    "RequestPayloadError",
    "StreamReader",
]

ParsedMessages = tuple[list[tuple[RawRequestMessage, StreamReader]], bool, bytes]


class Internal(NamedTuple):
    """A name of aiohttp that is private or undocumented.

    Attributes:
        owner: The class or object that has it.
        name: Of the attribute.
        reason: Why the adapter uses it.
    """

    owner: object
    name: str
    reason: str


INTERNALS = (
    Internal(BaseProtocol, "transport", "the connection; None once the client has left"),
    Internal(BaseProtocol, "_parser", "refers to the protocol, so it is dropped at the end"),
    Internal(BaseProtocol, "_pause_reading_for_buffer", "stops reading when too many wait"),
    Internal(BaseProtocol, "_resume_reading_for_buffer", "reads again when fewer wait"),
    Internal(BaseProtocol, "_drain_helper", "waits until the client has read enough"),
    Internal(BaseProtocol, "writing_paused", "whether the client reads slower than it is sent to"),
    Internal(HttpRequestParser, "feed_data", "parses what has been read from the socket"),
    Internal(HttpRequestParser, "message_consumed", "makes room for another waiting request"),
    Internal(RawRequestMessage, "method", "the request line"),
    Internal(RawRequestMessage, "path", "the request target, not decoded"),
    Internal(RawRequestMessage, "version", "whether the client understands chunks"),
    Internal(RawRequestMessage, "headers", "look-up of a single header"),
    Internal(RawRequestMessage, "raw_headers", "all headers as bytes, in order, with duplicates"),
    Internal(RawRequestMessage, "should_close", "what the Connection header and version ask for"),
    Internal(RawRequestMessage, "upgrade", "whether the client asks for another protocol"),
    Internal(EMPTY_PAYLOAD, "is_eof", "a request without a body has this one object as its body"),
    Internal(StreamReader, "set_exception", "ends a body whose client has left"),
    Internal(StreamReader, "is_eof", "whether a body has arrived completely"),
    Internal(StreamReader, "at_eof", "whether a body has been read completely"),
    Internal(StreamReader, "readany", "reads the part of a body that has arrived"),
    Internal(StreamReader, "read_nowait", "reads the rest of a body that has arrived completely"),
    Internal(EMPTY_PAYLOAD, "total_bytes", "the size of a body that has arrived"),
    Internal(HttpProcessingError(message=""), "message", "the reason for a problem's detail"),
)

PARSER_ARGUMENTS = {
    "max_line_size": "limit of the request target",
    "max_field_size": "limit of one header",
    "max_headers": "limit of the number of headers",
    "payload_exception": "type of the exception that ends a body with invalid framing",
    "auto_decompress": "a body is passed on as it is, so that its Content-Encoding stays true",
    "max_msg_queue_size": "number of parsed requests after which the parser keeps the rest",
}
"""Keyword arguments of ``HttpRequestParser``, each with its reason."""


class ParsingProtocol(BaseProtocol):
    """A protocol that parses requests; its methods are the plain names for aiohttp's private ones.

    Attributes:
        loop: The running event loop.
        parse: Parses bytes. Returns the requests whose head is complete, and whether the client
            asks for another protocol.
        message_consumed: To be called for each parsed request when its answer begins.
        is_reading_held: Whether the socket is not read until ``release_reading``.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self.loop = asyncio.get_running_loop()
        parser = HttpRequestParser(
            self,
            self.loop,
            limits.read_buffer_bytes,
            max_line_size=limits.max_target_bytes,
            max_field_size=limits.max_headers_bytes,
            max_headers=limits.max_headers,
            payload_exception=RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=limits.max_pipelined_requests,
        )
        super().__init__(self.loop, parser)
        self.is_reading_held = False
        # Bound once: they are called for every request.
        self.parse: Callable[[bytes], ParsedMessages] | None = parser.feed_data
        self.message_consumed: Callable[[], None] | None = parser.message_consumed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport. It sends without delay already, which aiohttp would ask for again."""
        self.transport = cast("asyncio.Transport", transport)

    def open_transport(self) -> asyncio.Transport:
        """Return the transport.

        Raises:
            ConnectionResetError: The client is not connected any more.
        """
        # With TLS, the socket is closed a turn of the event loop before this protocol hears of it.
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client has disconnected")
        return self.transport

    def drop_parser(self) -> None:
        """Drop the parser when the client has left: it and the protocol refer to each other."""
        self._parser = None
        self.parse = self.message_consumed = None

    def hold_reading(self) -> None:
        """Read nothing from the socket until ``release_reading``."""
        self.is_reading_held = True
        self._pause_reading_for_buffer()

    def release_reading(self) -> None:
        """Read from the socket again, unless a body's buffer is full."""
        self.is_reading_held = False
        self._resume_reading_for_buffer()

    async def wait_writable(self) -> None:
        """Wait until the client has read enough for more to be written.

        Raises:
            ConnectionError: The client is not connected any more.
        """
        await self._drain_helper()
