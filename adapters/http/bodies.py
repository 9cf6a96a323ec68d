"""Request bodies: read whole, within limits of size, time and memory.

A body is held from its first byte until its request is answered. What all of them may take together
is bounded, so that no number of clients can fill the memory of the process: 200 slow ones with a
body of 5 MiB each took 1 GB.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from aiohttp.web import RequestPayloadError

from adapters.http.connection import Request
from model.codec import Body
from model.errors import BodyTooLarge, BodyTooSlow, InvalidRequest, Overloaded

READ_S = 60.0
"""How long a client may take to send a body."""


class Bodies:
    """What the bodies of all requests in hand may take.

    Args:
        limit_bytes: The largest one.
        memory_bytes: All together.

    Attributes:
        limit_bytes: The largest one.
        free_bytes: What is left.
    """

    def __init__(self, limit_bytes: int, memory_bytes: int) -> None:
        """Start with none."""
        self.limit_bytes = limit_bytes
        self.free_bytes = memory_bytes

    def hold(self) -> HeldBody:
        """Return the place of one body; it is held while its context lasts."""
        return HeldBody(self)


class HeldBody:
    """One request's body."""

    __slots__ = ("_bodies", "_size_bytes")

    def __init__(self, bodies: Bodies) -> None:
        """Hold nothing yet; see ``Bodies.hold``."""
        self._bodies = bodies
        self._size_bytes = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let it go."""
        self._bodies.free_bytes += self._size_bytes

    async def read(self, request: Request) -> Body:
        """Return the whole body.

        Raises:
            BodyTooLarge: It is over the limit; what is over is not read.
            BodyTooSlow: It was not there in time.
            Overloaded: The bodies in hand leave no room for it.
            InvalidRequest: Its framing is broken.
        """
        if not request.has_body:
            return b""
        limit_bytes = self._bodies.limit_bytes
        # The parser has seen to it that it is a number, where it is there.
        if int(request.message.headers.get("content-length", 0)) > limit_bytes:
            raise _too_large(limit_bytes)
        request.invite()
        chunks = bytearray()
        try:
            if request.content.is_eof():
                await self._collect(request, chunks)
            else:
                async with asyncio.timeout(READ_S):
                    await self._collect(request, chunks)
        except BaseException as error:
            # aiohttp keeps a failure with the request, and so the frames it came through: what
            # they hold would stay until the garbage collector comes, which counts objects only.
            chunks.clear()
            if isinstance(error, TimeoutError):
                raise BodyTooSlow(f"the body took more than {READ_S:g} s") from error
            if isinstance(error, RequestPayloadError):
                told = "the body cannot be read: its framing is broken"
                raise InvalidRequest(told) from error.with_traceback(None)
            raise
        return chunks

    async def _collect(self, request: Request, chunks: bytearray) -> None:
        bodies = self._bodies
        async for chunk in request.content.iter_any():
            size_bytes = len(chunk)
            if len(chunks) + size_bytes > bodies.limit_bytes:
                raise _too_large(bodies.limit_bytes)
            if size_bytes > bodies.free_bytes:
                raise Overloaded("the bodies of other requests leave no room for this one")
            bodies.free_bytes -= size_bytes
            self._size_bytes += size_bytes
            chunks += chunk


def _too_large(limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is over the limit of {limit_bytes} bytes")
