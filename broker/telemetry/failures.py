"""How an exception that ends an event looks in figures and spans."""

from __future__ import annotations

import asyncio
import time
import traceback

from model.errors import ComponentFailed, DeadlineExceeded, FoxError
from model.telemetry import SpanEvent

MAX_MESSAGE = 500
MAX_STACKTRACE = 4_000


def status_of(error: BaseException) -> int:
    """Return the HTTP status that the sender sees."""
    return _kind_of(error).http_status


def code_of(error: BaseException) -> str:
    """Return the code of the failure."""
    return _kind_of(error).code


def event_of(error: BaseException) -> SpanEvent:
    """Return the event by which a span tells of an exception."""
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
    # A handler is cancelled by nothing but its deadline.
    return DeadlineExceeded if isinstance(error, asyncio.CancelledError) else ComponentFailed
