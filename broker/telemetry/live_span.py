"""Spans of OpenTelemetry's API, for the code of handlers and for instrumented libraries.

An instrumented library finds the parent span in the API's current context. This is a full
implementation of that API on the platform's own records, so a pod needs no SDK.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.util import types

from broker.runtime import trace_context
from broker.telemetry.failures import event_of
from broker.telemetry.figures import EventLabels
from broker.telemetry.span import SpanKind, SpanRecord
from broker.telemetry.tracing import Tracing
from kubefox.telemetry import Attributes, AttributeValue, SpanEvent

MAX_ATTRIBUTES = 64
MAX_EVENTS = 32
MAX_CHARACTERS = 1_000

_KINDS = {
    trace.SpanKind.INTERNAL: SpanKind.INTERNAL,
    trace.SpanKind.SERVER: SpanKind.SERVER,
    trace.SpanKind.CLIENT: SpanKind.CLIENT,
    trace.SpanKind.PRODUCER: SpanKind.PRODUCER,
    trace.SpanKind.CONSUMER: SpanKind.CONSUMER,
}


class LiveSpan(trace.Span):
    """A span that has not ended; its attributes and events are bounded.

    Args:
        name: Name of the span.
        parent: Trace id, span id of the parent, and whether the trace is sampled.
        labels: Labels of the event.
        tracing: Receives the span when it ends.
        kind: Kind of the span.
        start_ns: Unix time; None is now.
        span_id: Id of the span; empty makes a new one.
        ends_itself: Whether ``end`` ends the span; otherwise the owner of the span makes the
            record.
    """

    def __init__(
        self,
        name: str,
        parent: tuple[str, str, bool],
        labels: EventLabels,
        tracing: Tracing,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        span_id: str = "",
        start_ns: int | None = None,
        ends_itself: bool = True,
    ) -> None:
        self.name = name
        self.trace_id, self.parent_id, self.is_sampled = parent
        self.span_id = span_id or trace_context.new_span_id()
        self.labels = labels
        self.attributes: Attributes = {}
        self.events: list[SpanEvent] = []
        self.error = ""
        self._tracing = tracing
        self._kind = kind
        self._ends_itself = ends_itself
        self._start_ns = start_ns or time.time_ns()
        self._end_ns = 0

    def child(self, name: str, *, kind: SpanKind, start_ns: int | None = None) -> LiveSpan:
        """Begin a child span."""
        parent = (self.trace_id, self.span_id, self.is_sampled)
        return LiveSpan(name, parent, self.labels, self._tracing, kind=kind, start_ns=start_ns)

    def neighbours(self) -> tuple[int, ...]:
        """Return nothing: the span of the event knows them."""
        return ()

    def record(self) -> SpanRecord:
        """Return the record of the ended span."""
        return SpanRecord(
            self.trace_id,
            self.span_id,
            self.parent_id,
            self.name,
            self._kind,
            self._start_ns,
            self._end_ns,
            self.labels,
            0,
            self.error,
            self.attributes,
            tuple(self.events),
        )

    def end(self, end_time: int | None = None) -> None:
        """End the span; a second call does nothing."""
        if self._end_ns or not self._ends_itself:
            return
        self._end_ns = end_time or time.time_ns()
        self._tracing.finish(self)

    def get_span_context(self) -> SpanContext:
        """Return the ids of the span, for children of other tracers."""
        flags = TraceFlags(TraceFlags.SAMPLED if self.is_sampled else TraceFlags.DEFAULT)
        return SpanContext(int(self.trace_id, 16), int(self.span_id, 16), False, flags)

    def is_recording(self) -> bool:
        """Return whether attributes and events are still recorded."""
        return not self._end_ns

    def set_attribute(self, key: str, value: types.AttributeValue) -> None:
        """Set an attribute."""
        if key in self.attributes or len(self.attributes) < MAX_ATTRIBUTES:
            self.attributes[key] = _bounded(value)

    def set_attributes(self, attributes: Mapping[str, types.AttributeValue]) -> None:
        """Set several attributes."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: types.Attributes = None, timestamp: int | None = None
    ) -> None:
        """Add an event."""
        bounded = {key: _bounded(value) for key, value in (attributes or {}).items()}
        self._add_event(SpanEvent(name, timestamp or time.time_ns(), bounded))

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an event for an exception."""
        self._add_event(event_of(exception))

    def update_name(self, name: str) -> None:
        """Rename the span."""
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set whether the span failed; a failure stays until the status is OK."""
        if isinstance(status, Status):
            description = status.description
            status = status.status_code
        if status is StatusCode.ERROR:
            self.error = description or "error"
        elif status is StatusCode.OK:
            self.error = ""

    def _add_event(self, event: SpanEvent) -> None:
        if len(self.events) < MAX_EVENTS:
            self.events.append(event)


class LiveTracer(trace.Tracer):
    """Begins children of the current span; without a recorded parent they are not recorded."""

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: trace.SpanKind = trace.SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Begin a span."""
        parent = trace.get_current_span(context)
        if not isinstance(parent, LiveSpan):
            return trace.NonRecordingSpan(parent.get_span_context())
        span = parent.child(name, kind=_KINDS[kind], start_ns=start_time)
        span.set_attributes(attributes or {})
        return span

    @contextmanager
    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        context: Context | None = None,
        kind: trace.SpanKind = trace.SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[trace.Span]:
        """Begin a span that is the current span until the context ends."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span


class LiveTracerProvider(trace.TracerProvider):
    """Gives instrumented libraries their tracer."""

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        """Return the tracer; all are the same, since a span gets its labels from its parent."""
        return LiveTracer()


def install() -> None:
    """Set the tracer provider of the process, unless the component has set its own."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(LiveTracerProvider())


def _bounded(value: object) -> AttributeValue:
    match value:
        case bool() | int() | float():
            return value
        case str():
            return value[:MAX_CHARACTERS]
        case list() | tuple():
            return [str(item)[:MAX_CHARACTERS] for item in value[:MAX_ATTRIBUTES]]
        case _:
            return str(value)[:MAX_CHARACTERS]
