"""Reading the response to an event."""

from __future__ import annotations

import asyncio

from broker.streams.incoming import IncomingStream
from kubefox import codec, subjects
from kubefox.errors import (
    ComponentFailed,
    DeadlineExceeded,
    ErrorDetail,
    FoxError,
    InvalidEvent,
    from_detail,
)
from kubefox.event import ResponseHead
from kubefox.http import LAST_STATUS


def read_response(frame: bytes) -> tuple[ResponseHead, codec.Body]:
    """Return the head and the body of a response.

    Raises:
        ComponentFailed: The frame is invalid. The request was valid, so this is not a 400.
        FoxError: The failure that the response reports.
    """
    try:
        head, body = codec.decode_response(frame)
    except InvalidEvent as error:
        raise ComponentFailed("the component's response cannot be decoded") from error
    if head.error is not None:
        raise _failure_of(head, head.error)
    if not 0 <= head.status <= LAST_STATUS:
        raise ComponentFailed(f"the component responded with the invalid status {head.status}")
    if head.stream and not subjects.is_stream(head.stream):
        raise ComponentFailed("the component's response names an invalid stream for its body")
    return head, body


def _failure_of(head: ResponseHead, detail: ErrorDetail) -> FoxError:
    # Not in the frame that raises it: a variable there would make a cycle with the traceback, and
    # keep the frames, with their bodies, until a garbage collection.
    failure = from_detail(detail)
    failure.responder = head.responder
    return failure


async def discard_body(body: IncomingStream, ttl_s: float) -> None:
    """Read a body to its end, drop it and close it.

    Raises:
        DeadlineExceeded: The body did not end in time.
        FoxError: The body broke.
    """
    try:
        async with asyncio.timeout(ttl_s):
            await body.discard()
    except TimeoutError as error:
        hop = body.hop
        raise DeadlineExceeded(f"time ran out while {hop} sent its response", hop=hop) from error
