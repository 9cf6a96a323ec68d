"""The answers to events that failed or were refused, and what is logged and counted of them."""

from __future__ import annotations

import asyncio
import logging

from broker.dispatch.handling import Handling
from broker.dispatch.replies import Replies
from broker.telemetry.metrics import Metrics
from broker.telemetry.refused_events import RefusedEvents
from kubefox.errors import ComponentFailed, DeadlineExceeded, FoxError, Overloaded
from kubefox.refusal import Refusal

# The messages are those of the receiver.
logger = logging.getLogger("broker.dispatch.receiver")

_SERVER_ERROR = 500


class Failures:
    """Makes the failures of one receiver.

    Args:
        source: Source of the responses; see ``ResponseHead.source``.
        replies: Makes the frames.
        limit: Events of one lane that are handled at once.
    """

    def __init__(self, source: str, replies: Replies, limit: int) -> None:
        self._source = source
        self._replies = replies
        self._limit = limit
        self._refused: RefusedEvents | None = None

    def watch(self, metrics: Metrics) -> None:
        """Count the refused events in the metrics of the process from now on."""
        self._refused = RefusedEvents(metrics, self._source)

    def overload(self, refusal: Refusal, retry_after_s: int) -> Overloaded:
        """Return the error of an event that is refused."""
        source, limit = self._source, self._limit
        match refusal:
            case Refusal.TOO_LATE:
                detail = f"{source} has too many events to answer this one in time"
            case Refusal.STREAMS:
                detail = f"{source} has {limit} open streams"
            case _:
                detail = f"{source} has {limit} events in flight"
        detail += ", of one deployment and environment"
        error = Overloaded(detail, hop=source, refusal=refusal)
        error.retry_after_s = retry_after_s
        return error

    def encode(self, handling: Handling, error: FoxError) -> bytes:
        """Return the frame of a failure, and count it if this receiver has refused the event."""
        # The error of a call names another hop. A hop's hash is shortened.
        is_own = self._source.startswith(error.hop)
        if self._refused is not None and error.refusal is not None and is_own:
            self._refused.count(handling.event, error.refusal)
        return self._replies.failure(error)

    def of_exception(self, handling: Handling, error: BaseException) -> bytes | None:
        """Return the frame for an exception of a handler; None if there is none to send."""
        if isinstance(error, asyncio.CancelledError):
            cancellation = self._cancellation(handling)
            if cancellation is None:
                return None
            cancellation.__cause__, error = error, cancellation
        if isinstance(error, FoxError):
            self._log_cause(error)
            return self.encode(handling, error)
        # SystemExit would end the event loop, and the requester would wait for its deadline.
        logger.error("%s failed", self._source, exc_info=error)
        detail = f"{self._source} failed; see its log"
        return self._replies.failure(ComponentFailed(detail, hop=self._source))

    def _cancellation(self, handling: Handling) -> BaseException | None:
        """Return the exception that replaces a CancelledError of a handler; None if none does."""
        task = handling.task
        if task is None or not task.cancelling():
            return RuntimeError("the handler awaited something that was cancelled")
        if not (handling.is_expired or handling.is_abandoned):
            return asyncio.CancelledError()
        while task.cancelling():
            task.uncancel()
        if handling.is_abandoned:
            return None
        return DeadlineExceeded(f"time ran out in {self._source}", hop=self._source)

    def _log_cause(self, error: FoxError) -> None:
        # The requester gets the error only, not its cause.
        if error.http_status >= _SERVER_ERROR and isinstance(error.__cause__, Exception):
            logger.warning("%s failed: %s; cause: %r", self._source, error, error.__cause__)
