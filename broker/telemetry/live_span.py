"""Spans as OpenTelemetry's API has them, for code within handlers: authors' and libraries'.

Whatever is instrumented for OpenTelemetry finds its parent in the API's current context. This is a
full implementation of that API on the platform's own records: it needs no SDK in a pod.
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

from broker.telemetry import trace_context
from broker.telemetry.failures import event_of
from broker.telemetry.figures import Labels
from broker.telemetry.span import SpanKind, SpanRecord
from broker.telemetry.tracing import Tracing
from model.telemetry import Attributes, AttributeValue, SpanEvent

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
    """A span that has not ended; what is put on it is bounded.

    Args:
        name: Of the span.
        parent: Trace id, span id of the parent, whether they are sampled.
        labels: Whose span it is.
        tracing: Takes it when it ends.
        kind: What it stands for.
        start_ns: Unix time; None is now.
        span_id: Given when its owner has told others of it already.
        ends_itself: Whether ``end`` ends it; its owner makes the record otherwise.
    """

    def __init__(
        self,
        name: str,
        parent: tuple[str, str, bool],
        labels: Labels,
        tracing: Tracing,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        span_id: str = "",
        start_ns: int | None = None,
        ends_itself: bool = True,
    ) -> None:
        """Begin now."""
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
        """Begin a span below this one."""
        parent = (self.trace_id, self.span_id, self.is_sampled)
        return LiveSpan(name, parent, self.labels, self._tracing, kind=kind, start_ns=start_ns)

    def record(self) -> SpanRecord:
        """Return the span, which has ended."""
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
        """End it; a second time does nothing."""
        if self._end_ns or not self._ends_itself:
            return
        self._end_ns = end_time or time.time_ns()
        self._tracing.finish(self, self.trace_id, is_sampled=self.is_sampled)

    def get_span_context(self) -> SpanContext:
        """Return what children of other tracers need."""
        flags = TraceFlags(TraceFlags.SAMPLED if self.is_sampled else TraceFlags.DEFAULT)
        return SpanContext(int(self.trace_id, 16), int(self.span_id, 16), False, flags)

    def is_recording(self) -> bool:
        """Whether what is put on it is seen."""
        return not self._end_ns

    def set_attribute(self, key: str, value: types.AttributeValue) -> None:
        """Put an attribute on it."""
        if key in self.attributes or len(self.attributes) < MAX_ATTRIBUTES:
            self.attributes[key] = _bounded(value)

    def set_attributes(self, attributes: Mapping[str, types.AttributeValue]) -> None:
        """Put several attributes on it."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: types.Attributes = None, timestamp: int | None = None
    ) -> None:
        """Note that something happened."""
        bounded = {key: _bounded(value) for key, value in (attributes or {}).items()}
        self._note(SpanEvent(name, timestamp or time.time_ns(), bounded))

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Note an exception."""
        self._note(event_of(exception))

    def update_name(self, name: str) -> None:
        """Call it something else."""
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say whether it failed; what failed once stays so unless it is said to be fine."""
        if isinstance(status, Status):
            description = status.description
            status = status.status_code
        if status is StatusCode.ERROR:
            self.error = description or "error"
        elif status is StatusCode.OK:
            self.error = ""

    def _note(self, event: SpanEvent) -> None:
        if len(self.events) < MAX_EVENTS:
            self.events.append(event)


class LiveTracer(trace.Tracer):
    """Begins spans below the current one; where none is recorded, they are not either."""

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
        """Begin a span that is the current one until the context ends."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span


class LiveTracerProvider(trace.TracerProvider):
    """What instrumentation libraries ask for their tracer."""

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        """Return the one tracer there is: a span knows its process by its parent."""
        return LiveTracer()


def install() -> None:
    """Give instrumentation libraries our tracers, unless a component brought its own provider."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(LiveTracerProvider())


def _bounded(value: object) -> AttributeValue:
    match value:
        case bool() | int() | float():
            return value
        case str():
            return value[:MAX_CHARACTERS]
        case list() | tuple():
            return [str(each)[:MAX_CHARACTERS] for each in value[:MAX_ATTRIBUTES]]
        case _:
            return str(value)[:MAX_CHARACTERS]
