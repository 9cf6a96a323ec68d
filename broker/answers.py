"""What came back: an answer, or the failure that it reports."""

from __future__ import annotations

import asyncio

from broker.stream import Incoming
from model import codec, subjects
from model.errors import ComponentFailed, DeadlineExceeded, InvalidEvent, from_detail
from model.event import Response
from model.http import LAST_STATUS


def read_answer(frame: bytes) -> tuple[Response, codec.Body]:
    """Return the head and the body of an answer.

    Raises:
        ComponentFailed: It cannot be read; the request was well formed, so this is no 400.
        FoxError: Whatever the answer reports.
    """
    try:
        response, body = codec.decode_response(frame)
    except InvalidEvent as error:
        raise ComponentFailed("the component's answer cannot be read") from error
    if response.error is not None:
        raise from_detail(response.error)
    if not 0 <= response.status <= LAST_STATUS:
        raise ComponentFailed(f"the component answered with status {response.status}")
    if response.stream and not subjects.is_stream(response.stream):
        raise ComponentFailed("the component's answer names no stream for its body")
    return response, body


async def discard(body: Incoming, ttl_s: float) -> None:
    """Read the body of an answer that nobody wants; it is closed then.

    Raises:
        DeadlineExceeded: It was not over in time.
        FoxError: It broke off.
    """
    try:
        async with asyncio.timeout(ttl_s):
            await body.discard()
    except TimeoutError as error:
        hop = body.hop
        raise DeadlineExceeded(f"time ran out while {hop} made its answer", hop=hop) from error
