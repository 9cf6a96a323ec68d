"""Request bodies: small ones are read whole, others passed on as they come.

Only the component knows whether it wants a body whole, so the limit of whole ones is its own; see
``broker.bodies``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp.web import RequestPayloadError

from adapters.http.request import Request
from broker.bodies import Bodies, HeldBody
from model.codec import Body
from model.errors import BodyTooSlow, InvalidRequest, UnknownCoding
from model.stream import INLINE_BYTES

READ_S = 60.0
"""How long a client may take to send a small body, or any part of another."""


def check_coding(request: Request) -> None:
    """Let no body in that is coded for its transfer by anything but chunks.

    To pass it on as it is would lose what it says of itself, for that ends at each hop.

    Raises:
        UnknownCoding: It is.
    """
    codings = request.message.headers.get("transfer-encoding", "")
    if codings and codings.strip().lower() != "chunked":
        raise UnknownCoding(f"transfer coding {codings} is not understood; use chunked alone")


def is_small(request: Request, bodies: Bodies) -> bool:
    """Return whether a body goes along with its event: small, or small and here already."""
    # What is over the component's limit is for it to refuse, before any of it is read.
    most_bytes = min(INLINE_BYTES, bodies.limit_bytes)
    # The parser has seen to it that it is a number, where it is there.
    length = request.message.headers.get("content-length")
    if length is not None:
        return int(length) <= most_bytes
    return request.content.is_eof() and request.content.total_bytes <= most_bytes


async def read(request: Request, held: HeldBody) -> Body:
    """Return a small body.

    Raises:
        BodyTooSlow: It was not there in time.
        Overloaded: The bodies in hand leave no room for it.
        InvalidRequest: Its framing is broken.
    """
    request.invite()
    try:
        if request.content.is_eof():
            await _collect(request, held)
        else:
            async with asyncio.timeout(READ_S):
                await _collect(request, held)
    except TimeoutError as error:
        raise _too_slow() from error
    except RequestPayloadError as error:
        raise _broken(error) from None
    return held.data


async def chunks_of(request: Request) -> AsyncIterator[bytes]:
    """Yield a body as it comes; the socket waits while nobody asks for more.

    Raises:
        BodyTooSlow: Nothing came for too long.
        InvalidRequest: Its framing is broken.
        ConnectionError: The client has left.
    """
    request.invite()
    content = request.content
    while not content.at_eof():
        try:
            async with asyncio.timeout(READ_S):
                chunk = await content.readany()
        except TimeoutError as error:
            raise _too_slow() from error
        except RequestPayloadError as error:
            raise _broken(error) from None
        except ConnectionError as error:
            # aiohttp keeps it with the request, and so the frames it came through.
            raise ConnectionResetError(str(error)) from None
        yield chunk


async def _collect(request: Request, held: HeldBody) -> None:
    async for chunk in request.content.iter_any():
        held.add(chunk)


def _too_slow() -> BodyTooSlow:
    return BodyTooSlow(f"the body took more than {READ_S:g} s")


def _broken(error: RequestPayloadError) -> InvalidRequest:
    # aiohttp keeps a failure with the request, and so the frames it came through: what they hold
    # would stay until the garbage collector comes, which counts objects only.
    error.with_traceback(None)
    return InvalidRequest("the body cannot be read: its framing is broken")
