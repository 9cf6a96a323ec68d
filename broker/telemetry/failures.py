"""Exceptions that end an event, as figures and spans show them."""

from __future__ import annotations

import asyncio
import time
import traceback

from kubefox.errors import ClientGone, ComponentFailed, DeadlineExceeded, FoxError
from kubefox.telemetry import SpanEvent

MAX_MESSAGE = 500
MAX_STACKTRACE = 4_000


def status_of(error: BaseException) -> int:
    """Return the HTTP status that the sender gets."""
    return _kind_of(error).http_status


def code_of(error: BaseException) -> str:
    """Return the code of the failure, as in ``kubefox.errors``."""
    return _kind_of(error).code


def event_of(error: BaseException) -> SpanEvent:
    """Return the span event that describes an exception."""
    stack = "".join(traceback.format_exception(error))
    return SpanEvent(
        "exception",
        time.time_ns(),
        {
            "exception.type": type(error).__qualname__,
            "exception.message": str(error)[:MAX_MESSAGE],
            "exception.stacktrace": stack[-MAX_STACKTRACE:],
        },
    )


def _kind_of(error: BaseException) -> type[FoxError]:
    if isinstance(error, FoxError):
        return type(error)
    if not isinstance(error, asyncio.CancelledError):
        return ComponentFailed
    # A handler is cancelled at its deadline, or when nothing waits for its answer any more.
    return ClientGone if error.args == (ClientGone.code,) else DeadlineExceeded
