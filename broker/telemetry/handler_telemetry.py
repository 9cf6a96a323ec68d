"""The telemetry of an event that a receiver handles, and of the calls that its handler makes.

These classes count nothing; they are used while telemetry is off. ``measured_handling`` has those
that count.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Protocol, Self, TypeVar

from opentelemetry import trace

from broker.streams.body_sender import StreamedBody
from broker.telemetry.stream_meters import StreamMeters
from kubefox.event import ResponseHead
from kubefox.telemetry import Attributes


class HandlerResult(Protocol):
    """A handler's answer; implemented by ``broker.dispatch.handling.Reply``."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def stream(self) -> StreamedBody | None:
        """Body that is made while it is sent, or None."""


_Result = TypeVar("_Result", bound=HandlerResult)


class OutgoingCall:
    """A handler's call to another component or an adapter, while telemetry is off.

    Attributes:
        traceparent: Carried by the event that is sent.
    """

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> Self:
        """Begin the call."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        """End the call."""

    def record_answer(self, head: ResponseHead) -> None:
        """Record the status of the answer, and who gave it."""

    def stream_meters(self) -> StreamMeters:
        """Return the meters of the call's streams."""
        return StreamMeters()


class HandlerTelemetry:
    """An event that is handled, while telemetry is off; ``complete`` or ``fail`` ends it."""

    def __init__(self, traceparent: str) -> None:
        self._traceparent = traceparent

    def complete(self, answer: _Result) -> _Result:
        """End with an answer, and return it; an answer with a stream ends with its stream."""
        return answer

    def fail(self, error: BaseException) -> None:
        """End without an answer."""

    def stream_meters(self) -> StreamMeters:
        """Return the meters of the event's streams."""
        return StreamMeters()

    def call(self, event_id: str, dependency: str, subject: str) -> OutgoingCall:
        """Return the context manager of a call.

        Args:
            event_id: Id of the event that is sent.
            dependency: Name of the component or adapter.
            subject: NATS subject of the dependency.
        """
        return OutgoingCall(self._traceparent)

    def emit(self, event_id: str, dependency: str, subject: str) -> OutgoingCall:
        """Return the context manager of emitting an event; see ``call``."""
        return OutgoingCall(self._traceparent)

    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[trace.Span]:
        """Return the context manager of a span of the handler's author."""
        return nullcontext(trace.INVALID_SPAN)


UNMEASURED = HandlerTelemetry("")
