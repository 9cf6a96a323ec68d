"""Bodies that are written in parts: where one ends, and how a client is told that it does not.

RFC 9112, 6.3: a body ends after its length, with the last chunk, or with the connection.
"""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp.http import HttpVersion, HttpVersion10

from model.codec import Body
from model.errors import ComponentFailed

_LINE_END = b"\r\n"
# Closing sends a reset then: by it a client can tell a body that was cut from one that has ended.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Framing:
    """A body without a length, of HTTP/1.1: in chunks."""

    line = "transfer-encoding: chunked\r\n"
    has_end = True

    def parts(self, chunk: Body) -> tuple[Body, ...]:
        """Return what is written of a chunk; an empty one is nothing but a sign of life."""
        return (b"%x\r\n" % len(chunk), chunk, _LINE_END) if chunk else ()

    def end(self) -> tuple[Body, ...]:
        """Return what is written after the last one."""
        return (b"0\r\n\r\n",)


class Bare(Framing):
    """A body without a length, of HTTP/1.0: it ends with the connection."""

    line = ""
    has_end = False

    def parts(self, chunk: Body) -> tuple[Body, ...]:
        """Return the chunk as it is."""
        return (chunk,) if chunk else ()

    def end(self) -> tuple[Body, ...]:
        """Return nothing."""
        return ()


class Counted(Framing):
    """A body whose length is known."""

    def __init__(self, length: int) -> None:
        """Wait for as many bytes."""
        self.line = f"content-length: {length}\r\n"
        self._left = length

    def parts(self, chunk: Body) -> tuple[Body, ...]:
        """Return the chunk as it is, if there is room for it."""
        self._left -= len(chunk)
        if self._left < 0:
            raise ComponentFailed("the component answered with more than it had said")
        return (chunk,) if chunk else ()

    def end(self) -> tuple[Body, ...]:
        """Return nothing, if all of it was there."""
        if self._left:
            raise ComponentFailed("the component answered with less than it had said")
        return ()


def choose(version: HttpVersion, length: int | None) -> Framing:
    """Return the framing of a body for a client of this version."""
    if length is not None:
        return Counted(length)
    return Bare() if version == HttpVersion10 else Framing()


def cut(transport: asyncio.Transport, framing: Framing) -> None:
    """Close a connection in mid-body, so that the client can tell."""
    if not framing.has_end:
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
        )
        transport.abort()
    else:
        # What was written before still arrives; the end of the body does not.
        transport.close()
