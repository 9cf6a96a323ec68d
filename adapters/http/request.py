"""A request as its connection hands it over, and what its answer may do on the way.

Names and values of headers are taken from the parser's ``raw_headers``, see ``codec``.
"""

from __future__ import annotations

from typing import Protocol, cast

from aiohttp.http import HttpVersion10, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from adapters.http.answer import Answer
from broker.stream import Incoming

MAX_TARGET_BYTES = 16 * 1024
MAX_HEADERS_BYTES = 64 * 1024
MAX_HEADERS = 256


class Way(Protocol):
    """The way back to the client: its connection."""

    @property
    def remote(self) -> str:
        """Address of the client, or empty."""

    def write(self, data: bytes) -> None:
        """Send something; raise ConnectionError when the client has left."""

    async def answer(
        self, request: Request, answer: Answer, chunks: Incoming, length: int | None
    ) -> None:
        """Write an answer in parts; see ``Request.answer``."""


class Request:
    """A request that is being answered.

    Attributes:
        message: Its head, as the parser read it.
        content: Its body, as it comes.
        is_uninvited: Whether the client waits to be told to send it.
        keeps: Whether the connection can be kept after an answer that was written in parts; None
            without such an answer.
    """

    __slots__ = ("_connection", "content", "is_uninvited", "keeps", "message")

    def __init__(self, message: RawRequestMessage, content: StreamReader, connection: Way) -> None:
        """Wrap what arrived."""
        self.message = message
        self.content = content
        self._connection = connection
        self.keeps: bool | None = None
        self.is_uninvited = content is not EMPTY_PAYLOAD and _waits_for_invitation(message)

    @property
    def has_body(self) -> bool:
        """Whether there is a body to read."""
        return self.content is not EMPTY_PAYLOAD

    @property
    def remote(self) -> str:
        """Address of the client, or empty."""
        return self._connection.remote

    def invite(self) -> None:
        """Tell a client that waits for it to send the body: RFC 9110, 10.1.1."""
        if self.is_uninvited:
            self.is_uninvited = False
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def answer(self, answer: Answer, chunks: Incoming, length: int | None) -> None:
        """Write an answer whose body is still to come, as fast as the client takes it.

        Args:
            answer: Its head.
            chunks: Its body; closed when the client leaves.
            length: Of the body, where it is known.

        Raises:
            ConnectionError: The client has left.
            FoxError: The body broke off, or is not of that length; the answer is cut.
        """
        await self._connection.answer(self, answer, chunks, length)


def _waits_for_invitation(message: RawRequestMessage) -> bool:
    expects = cast("str", message.headers.get("expect", ""))
    return expects.lower() == "100-continue" and message.version > HttpVersion10
