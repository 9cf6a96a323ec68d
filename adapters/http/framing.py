"""Framing of response bodies that are written in parts: the form of a part and of the body's end.

RFC 9112, 6.3: a body ends after its length, with the last chunk, or with the connection.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Protocol

from adapters.http.aiohttp_internals import HttpVersion, HttpVersion10, RawRequestMessage
from kubefox.codec import Body
from kubefox.errors import ComponentFailed

_LINE_END = b"\r\n"
# With a linger time of 0, closing sends a reset. It is the only sign by which a client can tell a
# body that was cut from a complete one when the body ends with the connection.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Framing(Protocol):
    """How the client recognises the end of a body.

    Attributes:
        line: Header line of the framing; empty for none.
        has_end: Whether the body has an end of its own, so that the connection can be kept.
    """

    line: str
    has_end: bool

    def parts(self, chunk: Body) -> tuple[Body, ...]:
        """Return the bytes to write for a chunk; none for an empty one, which is a keep-alive."""

    def end(self) -> tuple[Body, ...]:
        """Return the bytes to write after the last chunk."""


class ChunkedFraming:
    """A body of unknown length for HTTP/1.1, in chunks."""

    line = "transfer-encoding: chunked\r\n"
    has_end = True

    def parts(self, chunk: Body) -> tuple[Body, ...]:
        """Return the chunk with its size."""
        return (b"%x\r\n" % len(chunk), chunk, _LINE_END) if chunk else ()

    def end(self) -> tuple[Body, ...]:
        """Return the last chunk."""
        return (b"0\r\n\r\n",)


class CloseDelimitedFraming:
    """A body of unknown length for HTTP/1.0, which ends with the connection."""

    line = ""
    has_end = False

    def parts(self, chunk: Body) -> tuple[Body, ...]:
        """Return the chunk unchanged."""
        return (chunk,) if chunk else ()

    def end(self) -> tuple[Body, ...]:
        """Return nothing."""
        return ()


class LengthFraming:
    """A body of known length.

    Args:
        length: In bytes.
    """

    has_end = True

    def __init__(self, length: int) -> None:
        self.line = f"content-length: {length}\r\n"
        self._left = length

    def parts(self, chunk: Body) -> tuple[Body, ...]:
        """Return the chunk unchanged.

        Raises:
            ComponentFailed: The body is longer than its Content-Length.
        """
        self._left -= len(chunk)
        if self._left < 0:
            raise ComponentFailed("the component's response is longer than its Content-Length")
        return (chunk,) if chunk else ()

    def end(self) -> tuple[Body, ...]:
        """Return nothing.

        Raises:
            ComponentFailed: The body is shorter than its Content-Length.
        """
        if self._left:
            raise ComponentFailed("the component's response is shorter than its Content-Length")
        return ()


def choose_framing(version: HttpVersion, length: int | None) -> Framing:
    """Return the framing of a body for a client of an HTTP version.

    Args:
        version: Of the request.
        length: Of the body in bytes, or None if it is not known.
    """
    if length is not None:
        return LengthFraming(length)
    return CloseDelimitedFraming() if version == HttpVersion10 else ChunkedFraming()


def cut_connection(transport: asyncio.Transport, framing: Framing) -> None:
    """Close a connection in the middle of a body, so that the client detects it is incomplete."""
    if not framing.has_end:
        # With TLS, a client that has just left has no socket any more.
        if (connection := transport.get_extra_info("socket")) is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    else:
        # Data that was written before still arrives; the end of the body does not.
        transport.close()


def connection_header(message: RawRequestMessage, *, keeps: bool) -> str:
    """Return the value of the Connection header; empty where the version's default says it."""
    if not keeps:
        return "close"
    return "keep-alive" if message.version == HttpVersion10 else ""
