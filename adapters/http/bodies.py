"""Request bodies: those that a handler takes whole are gathered, others are passed on.

A body is gathered before its event is sent, so one that arrives slowly takes no place in a pod. A
handler that reads the body while it arrives gets it as a stream, unless it is small.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from adapters.http.aiohttp_internals import RequestPayloadError, StreamReader
from adapters.http.limits import HttpLimits
from adapters.http.pace import Pace, describe_slowness
from adapters.http.request import Request
from broker.streams.bodies import BufferedBody
from kubefox.codec import Body
from kubefox.errors import BodyTooSlow, InvalidRequest, UnsupportedTransferEncoding


def check_transfer_encoding(request: Request) -> None:
    """Refuse a body with a transfer encoding other than ``chunked``.

    A transfer encoding ends at each hop, so a body that is passed on would lose it.

    Raises:
        UnsupportedTransferEncoding: The body has another one.
    """
    codings = request.message.headers.get("transfer-encoding", "")
    if codings and codings.strip().lower() != "chunked":
        raise UnsupportedTransferEncoding(
            f"unsupported Transfer-Encoding {codings!r}: use 'chunked' alone"
        )


def is_gathered(request: Request, limits: HttpLimits, *, streams_body: bool | None) -> bool:
    """Return whether a body is read before its event is sent.

    Args:
        request: With the body.
        limits: Of the adapter.
        streams_body: Whether the handler reads it while it arrives; None if that is not known.
    """
    if streams_body is False:
        return True
    # A body over the component's limit is refused by the component before it is read.
    most_bytes = min(limits.inline_body_bytes, limits.body_limit_bytes)
    length = _announced_bytes(request)
    if length is not None:
        return length <= most_bytes
    return request.content.is_eof() and request.content.total_bytes <= most_bytes


async def gather(request: Request, held: BufferedBody, limits: HttpLimits) -> Body:
    """Return a whole body.

    Args:
        request: With the body.
        held: Buffers it.
        limits: Of the adapter.

    Raises:
        BodyTooLarge: It is larger than a handler may take whole; if its length says so, nothing of
            it was read.
        BodyTooSlow: It did not arrive in time, or not at the minimum rate.
        Overloaded: The buffered bodies of other requests leave no memory for it.
        InvalidRequest: Its framing is invalid.
        ConnectionError: The client is not connected any more.
    """
    held.memory.check(_announced_bytes(request) or 0)
    async with aclosing(chunks_of(request, limits, limits.body_timeout_s)) as chunks:
        async for chunk in chunks:
            held.add(chunk)
    return held.data


async def chunks_of(
    request: Request, limits: HttpLimits, timeout_s: float
) -> AsyncGenerator[bytes, None]:
    """Yield the parts of a body while it arrives; the socket is read only as fast as the caller.

    Args:
        request: With the body.
        limits: Of the adapter.
        timeout_s: Time in which the whole body must arrive; infinity sets no limit.

    Raises:
        BodyTooSlow: It did not arrive in time, or not at the minimum rate.
        InvalidRequest: The body's framing is invalid.
        ConnectionError: The client is not connected any more.
    """
    request.send_continue()
    content = request.content
    pace, loop = Pace(limits.stall_timeout_s, limits.min_bytes_per_s), asyncio.get_running_loop()
    end_s = loop.time() + timeout_s
    while not content.at_eof():
        begin_s = loop.time()
        wait_s = min(pace.left_s, end_s - begin_s)
        chunk = await _next_chunk(content, wait_s)
        if chunk is None:
            raise _too_slow(limits, timeout_s, is_stalled=wait_s < end_s - begin_s)
        pace.note(loop.time() - begin_s, len(chunk))
        yield chunk


async def _next_chunk(content: StreamReader, timeout_s: float) -> bytes | None:
    """Return the next part of a body, or None if it did not arrive in time."""
    try:
        if content.is_eof():
            return content.read_nowait()
        async with asyncio.timeout(timeout_s):
            return await content.readany()
    except TimeoutError:
        return None
    except RequestPayloadError as error:
        raise _invalid_framing(error) from None
    except ConnectionError as error:
        # aiohttp keeps the exception with the body, and with it the frames in its traceback.
        error.with_traceback(None)
        raise ConnectionResetError(str(error)) from None


async def discard_rest(content: StreamReader, timeout_s: float) -> bool:
    """Read and discard the rest of a body; return whether all of it arrived in time."""
    try:
        async with asyncio.timeout(timeout_s):
            while not content.is_eof():
                await content.readany()
    except (TimeoutError, RequestPayloadError):
        return False
    return True


def _announced_bytes(request: Request) -> int | None:
    # The parser has checked that the length is a number.
    length = request.message.headers.get("content-length")
    return None if length is None else int(length)


def _too_slow(limits: HttpLimits, timeout_s: float, *, is_stalled: bool) -> BodyTooSlow:
    if not is_stalled:
        return BodyTooSlow(f"the request body did not arrive within {timeout_s:g} s")
    slowness = describe_slowness("sent", limits.min_bytes_per_s)
    return BodyTooSlow(
        f"the client paused its request body for {limits.stall_timeout_s:g} s{slowness}"
    )


def _invalid_framing(error: RequestPayloadError) -> InvalidRequest:
    # aiohttp keeps the exception with the body, and with it the frames in its traceback. Their
    # bodies would stay in memory until a garbage collection, which counts objects, not bytes.
    error.with_traceback(None)
    return InvalidRequest("the request body cannot be read: its framing is invalid")
