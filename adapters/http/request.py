"""A request as its connection passes it to the adapter."""

from __future__ import annotations

from typing import Protocol, cast

from adapters.http.aiohttp_internals import (
    EMPTY_PAYLOAD,
    HttpVersion10,
    RawRequestMessage,
    StreamReader,
)
from adapters.http.response import HttpResponse, WrittenResponse
from broker.runtime.fair_share import FairShare, Lane
from broker.streams.incoming import IncomingStream


class ClientConnection(Protocol):
    """The part of a connection that a request uses."""

    @property
    def remote(self) -> str:
        """Address of the client; empty when it is not connected any more."""

    def write(self, data: bytes) -> None:
        """Send bytes; raise ConnectionError when the client is not connected any more."""

    async def stream_response(
        self, request: Request, head: HttpResponse, chunks: IncomingStream, length: int | None
    ) -> WrittenResponse:
        """Write a response in parts; see ``Request.stream_response``."""


class Request:
    """A request that is being answered.

    Attributes:
        message: Its head, as aiohttp's parser read it.
        content: Its body, which may still be arriving.
        awaits_continue: Whether the client sends the body only after ``100 Continue``.
        lane: See ``capacity.PlaceHolder``.
        share: See there. The connection releases the place.
        private_lines: Further header lines of the response, if it depends on more than the URL;
            then no cache may give it to others.
    """

    __slots__ = (
        "_connection",
        "awaits_continue",
        "content",
        "lane",
        "message",
        "private_lines",
        "share",
    )

    def __init__(
        self, message: RawRequestMessage, content: StreamReader, connection: ClientConnection
    ) -> None:
        self.message = message
        self.content = content
        self._connection = connection
        self.lane: Lane = ""
        self.share: FairShare | None = None
        self.private_lines = ""
        self.awaits_continue = content is not EMPTY_PAYLOAD and _expects_continue(message)

    @property
    def has_body(self) -> bool:
        """Whether there is a body to read."""
        return self.content is not EMPTY_PAYLOAD

    @property
    def remote(self) -> str:
        """Address of the client; empty when it is not connected any more."""
        return self._connection.remote

    def send_continue(self) -> None:
        """Send ``100 Continue`` if the client waits for it: RFC 9110, 10.1.1."""
        if self.awaits_continue:
            self.awaits_continue = False
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def stream_response(
        self, head: HttpResponse, chunks: IncomingStream, length: int | None
    ) -> WrittenResponse:
        """Write a response whose body is still to come, as fast as the client reads it.

        Args:
            head: Status and headers of the response.
            chunks: Its body; closed when the client disconnects.
            length: Of the body in bytes, or None if it is not known.

        Raises:
            ConnectionError: The client is not connected any more.
            FoxError: The body broke off, or is not of that length. The connection has been cut.
        """
        return await self._connection.stream_response(self, head, chunks, length)


def _expects_continue(message: RawRequestMessage) -> bool:
    expects = cast("str", message.headers.get("expect", ""))
    return expects.lower() == "100-continue" and message.version > HttpVersion10
