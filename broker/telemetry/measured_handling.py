"""The telemetry of handled events and of their handlers' calls, while telemetry is on.

These objects lie on the path of every event. They record times and count; spans are made of their
records only when the trace is sampled or kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Token
from types import TracebackType
from typing import TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from broker.runtime import trace_context
from broker.runtime.ids import DELIVERING_PROCESSES, UNKNOWN_PROCESS, process_of
from broker.telemetry.completed import CompletedEvents, HandledEvent, count_handling
from broker.telemetry.failures import code_of, event_of, status_of
from broker.telemetry.handler_telemetry import HandlerResult, HandlerTelemetry, OutgoingCall
from broker.telemetry.labels import TelemetryLabels
from broker.telemetry.live_span import LiveSpan
from broker.telemetry.metrics import IN_FLIGHT
from broker.telemetry.records import MAX_PATH, CallRecord, HandledRecord, handled_id
from broker.telemetry.span import ERROR_STATUS, SpanKind
from broker.telemetry.stream_meters import StreamMeters
from kubefox.errors import FoxError
from kubefox.event import Event, ResponseHead
from kubefox.telemetry import Attributes

_Result = TypeVar("_Result", bound=HandlerResult)


class MeasuredHandlerTelemetry(HandlerTelemetry):
    """An event that is handled, counted and traced.

    Args:
        completed: Receives the event when it has ended.
        event: The event.
        labels: Labels of the event.

    Attributes:
        completed: Receives the event when it has ended.
        labels: Labels of the event.
        traceparent: Carried by the event, or empty.
        is_sampled: Whether its spans are sent.
        has_spans: Whether the current span of OpenTelemetry may belong to the event.
    """

    # Most events never change these. As attributes of the class they halve the cost of an object.
    _live: LiveSpan | None = None
    _meters: StreamMeters | None = None
    _token: Token[Context] | None = None
    _status = _end_ns = 0
    _error = _span_id = ""
    is_sampled = has_spans = False
    # Whether a HandledEvent cannot hold all that its span shows.
    _needs_own_record = False

    def __init__(self, completed: CompletedEvents, event: Event, labels: TelemetryLabels) -> None:
        self._event = event
        self.completed, self.labels = completed, labels
        self._start_ns = time.time_ns()
        traceparent = event.traceparent
        if traceparent and traceparent.endswith(trace_context.SAMPLED_SUFFIX):
            self.is_sampled = self.has_spans = self._needs_own_record = True
            self._live = self._make_live()
            self._token = otel_context.attach(trace.set_span_in_context(self._live))
        elif event.delivery is not None:
            # A HandledEvent does not hold who delivered it.
            self._needs_own_record = True
        labels.counters[IN_FLIGHT] += 1

    @property
    def trace_id(self) -> str:
        """Id of the trace."""
        return trace_context.trace_id_of(self._event.traceparent, self._event.genesis_id)

    @property
    def traceparent(self) -> str:
        """Carried by the event, or empty."""
        return self._event.traceparent

    def complete(self, answer: _Result) -> _Result:
        """End with an answer, and return it; an answer with a stream ends with its stream."""
        self._status = status = answer.status
        stream = answer.stream
        if stream is not None:
            stream.meter, stream.on_end = self.stream_meters().answer, self._end
        elif status >= ERROR_STATUS or self._needs_own_record:
            self._end()
        else:
            event = self._event
            self.completed.handled.add(
                HandledEvent(
                    self.labels,
                    status,
                    self._start_ns,
                    time.time_ns(),
                    event.sent_us,
                    event.traceparent,
                    event.id,
                    event.genesis_id,
                    event.method,
                    event.path,
                )
            )
        return answer

    def fail(self, error: BaseException) -> None:
        """End without an answer."""
        self._end(error)

    def stream_meters(self) -> StreamMeters:
        """Return the meters of the event's streams."""
        if self._meters is None:
            self._meters, self._needs_own_record = StreamMeters(self.labels.series), True
        return self._meters

    def call(self, event_id: str, dependency: str, subject: str) -> OutgoingCall:
        """Return the context manager of a call; its parent is the author's span, if there is one.

        Args:
            event_id: Id of the event that is sent.
            dependency: Name of the component or adapter.
            subject: NATS subject of the dependency.
        """
        return MeasuredOutgoingCall(event_id, dependency, subject, self)

    def emit(self, event_id: str, dependency: str, subject: str) -> OutgoingCall:
        """Return the context manager of emitting an event; see ``call``."""
        return MeasuredOutgoingEmit(event_id, dependency, subject, self)

    @contextmanager
    def span(self, name: str, attributes: Attributes) -> Iterator[trace.Span]:
        """Begin a span of the handler's author; it is the current span until the context ends."""
        self.has_spans = True
        parent = self._current() or self._live or self._make_live()
        span = parent.child(name, kind=SpanKind.INTERNAL)
        span.set_attributes(attributes)
        with trace.use_span(span, end_on_exit=True):
            yield span

    def neighbours(self) -> tuple[int, ...]:
        """Return the numbers of the processes that sent the event, and delivered it if emitted."""
        event = self._event
        sender = process_of(event.id)
        return (sender, event.delivery.deliverer) if event.delivery else (sender,)

    def record(self) -> HandledRecord:
        """Return the record of the event's span."""
        event = self._event
        live, streams = self._live, self._meters.figures() if self._meters else None
        known = (
            event.traceparent,
            self._span_id,
            event.id,
            event.genesis_id,
            event.method,
            event.path[:MAX_PATH],
            self.labels.event_labels,
            self._start_ns,
            self._end_ns,
            self._status,
        )
        if live is None:
            return HandledRecord(*known, self._error, streams=streams)
        error = self._error or live.error
        events = tuple(live.events)
        return HandledRecord(*known, error, live.name, live.attributes, events, streams)

    @property
    def own_id(self) -> str:
        """Id of the event's span; derived from the parent's id, so most spans never make one."""
        parent_id = trace_context.parent_id_of(self._event.traceparent, self._event.id)
        return self._span_id or handled_id(parent_id)

    @property
    def current_id(self) -> str:
        """Id of the author's span that is the current one, or empty."""
        current = self._current()
        return current.span_id if current else ""

    def _end(self, error: BaseException | None = None) -> None:
        """End the event. It is counted later; a trace that is to be kept is kept at once."""
        self._end_ns = time.time_ns()
        if error is not None:
            self._status, self._error = status_of(error), code_of(error)
        if self._token is not None:
            otel_context.detach(self._token)
        if self._status >= ERROR_STATUS:
            self._keep(error)
        self.completed.others.add(self)

    def process(self) -> None:
        """Count the event, and pass its span on."""
        sent_us, start_ns = self._event.sent_us, self._start_ns
        count_handling(self.labels, self._status, start_ns, self._end_ns, sent_us)
        self.completed.tracing.finish(self)

    def _current(self) -> LiveSpan | None:
        """Return the current span of OpenTelemetry, if it belongs to this event's trace."""
        current = trace.get_current_span()
        is_own = isinstance(current, LiveSpan) and current.trace_id == self.trace_id
        return current if is_own else None  # type: ignore[return-value]

    def _keep(self, error: BaseException | None) -> None:
        is_wanted = self.is_sampled or self.completed.tracing.keep_failed(self.trace_id)
        if error is not None and is_wanted:
            self._live = self._live or self._make_live()
            self._live.events.append(event_of(error))

    def _make_live(self) -> LiveSpan:
        parent_id = trace_context.parent_id_of(self._event.traceparent, self._event.id)
        return LiveSpan(
            self.labels.span_name,
            (self.trace_id, parent_id, self.is_sampled),
            self.labels.event_labels,
            self.completed.tracing,
            span_id=self.own_id,
            start_ns=self._start_ns,
            ends_itself=False,
        )


class MeasuredOutgoingCall(OutgoingCall):
    """A handler's call to another component or an adapter, traced.

    Args:
        event_id: Id of the event that is sent.
        dependency: Name of the component or adapter.
        subject: NATS subject of the dependency.
        handling: Telemetry of the event that the handler handles.
    """

    _status = 0
    _responder = UNKNOWN_PROCESS
    _error = ""
    _verb = "send"
    _kind = SpanKind.CLIENT
    _meters: StreamMeters | None = None

    def __init__(
        self, event_id: str, dependency: str, subject: str, handling: MeasuredHandlerTelemetry
    ) -> None:
        self._event_id, self._dependency, self._subject = event_id, dependency, subject
        self._handling, outer = handling, handling.traceparent
        self._current_id = handling.current_id if handling.has_spans else ""
        self.traceparent = trace_context.child_traceparent(outer, event_id) if outer else ""
        self._start_ns = time.time_ns()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        """End the call."""
        self._end_ns = time.time_ns()
        if error is not None:
            self._status, self._error = status_of(error), code_of(error)
            if isinstance(error, FoxError):
                self._responder = error.responder or self._responder
        self._handling.completed.others.add(self)

    def process(self) -> None:
        """Pass the span of the call on."""
        self._handling.completed.tracing.finish(self)

    @property
    def trace_id(self) -> str:
        """Id of the trace."""
        return self._handling.trace_id

    @property
    def is_sampled(self) -> bool:
        """Whether the spans of the trace are sent."""
        return self._handling.is_sampled

    def record_answer(self, head: ResponseHead) -> None:
        """Record the status of the answer, and who gave it."""
        self._status, self._responder = head.status, head.responder

    def stream_meters(self) -> StreamMeters:
        """Return the meters of the call's streams; the called component counts the bytes."""
        if self._meters is None:
            self._meters = StreamMeters()
        return self._meters

    def neighbours(self) -> tuple[int, ...]:
        """Return the number of the process that answered."""
        return (self._responder,)

    def record(self) -> CallRecord:
        """Return the record of the call's span."""
        return CallRecord(
            self.trace_id,
            self._event_id,
            self._current_id or self._handling.own_id,
            self._dependency,
            self._subject,
            self._handling.labels.event_labels,
            self._start_ns,
            self._end_ns,
            self._status,
            self._error,
            self._verb,
            self._kind,
            self._meters.figures() if self._meters else None,
        )


class MeasuredOutgoingEmit(MeasuredOutgoingCall):
    """The emitting of an event, traced; it ends when the event is stored."""

    _verb = "emit"
    _kind = SpanKind.PRODUCER
    _responder = DELIVERING_PROCESSES
