"""An event in a receiver's hands: measured, and traced if its trace is wanted.

These objects lie on the request path. They take the time, count, and put a few words by; spans are
made of them when the trace is sampled or kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Token
from types import TracebackType
from typing import Self

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from broker.receiver import Reply
from broker.telemetry import trace_context
from broker.telemetry.ended import Ended
from broker.telemetry.failures import code_of, event_of, status_of
from broker.telemetry.flows import Flows
from broker.telemetry.handled import Handled, waited_ns
from broker.telemetry.live_span import LiveSpan
from broker.telemetry.metrics import IN_FLIGHT, end
from broker.telemetry.records import MAX_PATH, CallRecord, HandledRecord, handled_id
from broker.telemetry.scope import Scope
from broker.telemetry.span import ERROR_STATUS, SpanKind
from model.event import Event
from model.telemetry import Attributes


class Call:
    """A call of a handler to another component or adapter, while telemetry is off.

    Attributes:
        traceparent: What the event is to carry.
    """

    def __init__(self, traceparent: str) -> None:
        """Keep the trace going."""
        self.traceparent = traceparent

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        """End."""

    def answer(self, status: int) -> None:
        """Note the status of the answer."""

    def flows(self) -> Flows:
        """Return what counts its streams."""
        return Flows()


class Handling:
    """An event that is being handled, while telemetry is off. It ends with an answer or fails."""

    def __init__(self, traceparent: str) -> None:
        """Take the event's trace."""
        self._traceparent = traceparent

    def answer(self, reply: Reply) -> Reply:
        """End with an answer, and return it; one whose body is a stream lasts as long as that."""
        return reply

    def fail(self, error: BaseException) -> None:
        """End without an answer."""

    def flows(self) -> Flows:
        """Return what counts its streams."""
        return Flows()

    def call(self, event_id: str, dependency: str, subject: str) -> Call:
        """Return a call to enter, by the id of its event."""
        return Call(self._traceparent)

    def emit(self, event_id: str, dependency: str, subject: str) -> Call:
        """Return the emitting of an event to enter, by the event's id."""
        return Call(self._traceparent)

    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[trace.Span]:
        """Return a span of the handler's own to enter."""
        return nullcontext(trace.INVALID_SPAN)


UNMEASURED = Handling("")


class MeasuredHandling(Handling):
    """An event that is being handled, counted and traced.

    Args:
        ended: Takes it when it has ended.
        event: Which.
        scope: Whom it is for.

    Attributes:
        ended: As it was given.
        scope: As it was given.
        traceparent: What the event carries, perhaps nothing.
        is_sampled: Whether its trace is wanted.
        has_spans: Whether one of OpenTelemetry may be the current one.
    """

    # What most events never change lies in the class: half of what making one costs.
    _live: LiveSpan | None = None
    _flows: Flows | None = None
    _token: Token[Context] | None = None
    _status = _end_ns = 0
    _error = _span_id = ""
    is_sampled = has_spans = False
    # Whether there is more to tell of it than what ``Handled`` does.
    _has_more = False

    def __init__(self, ended: Ended, event: Event, scope: Scope) -> None:
        """Begin now.

        The span of a sampled one becomes the current one of OpenTelemetry.
        """
        self._event = event
        self.ended, self.scope = ended, scope
        self._start_ns = time.time_ns()
        traceparent = event.traceparent
        if traceparent and traceparent.endswith(trace_context.SAMPLED):
            self.is_sampled = self.has_spans = self._has_more = True
            self._live = self._make_live()
            self._token = otel_context.attach(trace.set_span_in_context(self._live))
        scope.words[IN_FLIGHT] += 1

    @property
    def trace_id(self) -> str:
        """Id of its trace."""
        return trace_context.trace_id_of(self._event.traceparent, self._event.genesis_id)

    @property
    def traceparent(self) -> str:
        """What the event carries, perhaps nothing."""
        return self._event.traceparent

    def answer(self, reply: Reply) -> Reply:
        """End with an answer, and return it; one whose body is a stream lasts as long as that."""
        self._status = status = reply.status
        if reply.stream is not None:
            reply.stream.meter, reply.stream.on_end = self.flows().answer, self._end
        elif status >= ERROR_STATUS or self._has_more:
            self._end()
        else:
            event, handled = self._event, self.ended.handled
            # As Settling.put: a call less.
            ended = handled.ended
            if not ended:
                handled.begin()
            ended.append(
                Handled(
                    self.scope,
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
        return reply

    def fail(self, error: BaseException) -> None:
        """End without an answer."""
        self._end(error)

    def flows(self) -> Flows:
        """Return what counts its streams."""
        if self._flows is None:
            self._flows, self._has_more = Flows(self.scope), True
        return self._flows

    def call(self, event_id: str, dependency: str, subject: str) -> Call:
        """Return a call to enter; its parent is the author's span if there is one."""
        return MeasuredCall(event_id, dependency, subject, self)

    def emit(self, event_id: str, dependency: str, subject: str) -> Call:
        """Return the emitting of an event to enter; its parent is as that of a call."""
        return MeasuredEmit(event_id, dependency, subject, self)

    @contextmanager
    def span(self, name: str, attributes: Attributes) -> Iterator[trace.Span]:
        """Return a span of the handler's own to enter; it is the current one meanwhile."""
        self.has_spans = True
        parent = self._current() or self._live or self._make_live()
        span = parent.child(name, kind=SpanKind.INTERNAL)
        span.set_attributes(attributes)
        with trace.use_span(span, end_on_exit=True):
            yield span

    def record(self) -> HandledRecord:
        """Return what is put by of it."""
        event = self._event
        live, streams = self._live, self._flows.figures() if self._flows else None
        known = (
            event.traceparent,
            self._span_id,
            event.id,
            event.genesis_id,
            event.method,
            event.path[:MAX_PATH],
            self.scope.labels,
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
        """Id of its span; told by its parent's, so that it need not be made before it is asked."""
        parent_id = trace_context.parent_id_of(self._event.traceparent, self._event.id)
        return self._span_id or handled_id(parent_id)

    @property
    def current_id(self) -> str:
        """Id of the author's span that is the current one, or empty."""
        current = self._current()
        return current.span_id if current else ""

    def _end(self, error: BaseException | None = None) -> None:
        """End it: it is counted soon, but a trace that is to be kept is kept at once."""
        self._end_ns = time.time_ns()
        if error is not None:
            self._status, self._error = status_of(error), code_of(error)
        if self._token is not None:
            otel_context.detach(self._token)
        if self._status >= ERROR_STATUS:
            self._keep(error)
        self.ended.others.put(self)

    def settle(self) -> None:
        """Count it, and put its span by or on its way."""
        sent_us, start_ns = self._event.sent_us, self._start_ns
        waited = waited_ns(start_ns, sent_us) if sent_us else -1
        end(self.scope.words, self._status, self._end_ns - start_ns, waited)
        self.ended.tracing.finish(self, self.trace_id, is_sampled=self.is_sampled)

    def _current(self) -> LiveSpan | None:
        """Return the current span of OpenTelemetry, if it belongs to this event's trace."""
        current = trace.get_current_span()
        is_ours = isinstance(current, LiveSpan) and current.trace_id == self.trace_id
        return current if is_ours else None  # type: ignore[return-value]

    def _keep(self, error: BaseException | None) -> None:
        is_wanted = self.is_sampled or self.ended.tracing.keep(self.trace_id)
        if error is not None and is_wanted:
            self._live = self._live or self._make_live()
            self._live.events.append(event_of(error))

    def _make_live(self) -> LiveSpan:
        parent_id = trace_context.parent_id_of(self._event.traceparent, self._event.id)
        return LiveSpan(
            self.scope.span_name,
            (self.trace_id, parent_id, self.is_sampled),
            self.scope.labels,
            self.ended.tracing,
            span_id=self.own_id,
            start_ns=self._start_ns,
            ends_itself=False,
        )


class MeasuredCall(Call):
    """A call of a handler, traced.

    Args:
        event_id: Of the event that it sends.
        dependency: Whom it calls.
        subject: Where that listens.
        handling: Of the event that the handler has in hand.
    """

    _status = 0
    _error = ""
    _verb = "send"
    _kind = SpanKind.CLIENT
    _flows: Flows | None = None

    def __init__(
        self, event_id: str, dependency: str, subject: str, handling: MeasuredHandling
    ) -> None:
        """Begin now."""
        self._event_id, self._dependency, self._subject = event_id, dependency, subject
        self._handling, outer = handling, handling.traceparent
        self._current_id = handling.current_id if handling.has_spans else ""
        self.traceparent = trace_context.with_parent(outer, event_id) if outer else ""
        self._start_ns = time.time_ns()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        """Put it by, or on its way."""
        self._end_ns = time.time_ns()
        if error is not None:
            self._status, self._error = status_of(error), code_of(error)
        self._handling.ended.others.put(self)

    def settle(self) -> None:
        """Put its span by or on its way."""
        handling = self._handling
        handling.ended.tracing.finish(self, self.trace_id, is_sampled=handling.is_sampled)

    @property
    def trace_id(self) -> str:
        """Id of its trace."""
        return self._handling.trace_id

    def answer(self, status: int) -> None:
        """Note the status of the answer."""
        self._status = status

    def flows(self) -> Flows:
        """Return what counts its streams; in the figures, the component it calls has the bytes."""
        if self._flows is None:
            self._flows = Flows()
        return self._flows

    def record(self) -> CallRecord:
        """Return what is put by of it."""
        return CallRecord(
            self.trace_id,
            self._event_id,
            self._current_id or self._handling.own_id,
            self._dependency,
            self._subject,
            self._handling.scope.labels,
            self._start_ns,
            self._end_ns,
            self._status,
            self._error,
            self._verb,
            self._kind,
            self._flows.figures() if self._flows else None,
        )


class MeasuredEmit(MeasuredCall):
    """The emitting of an event, traced: it ends when the event is stored."""

    _verb = "emit"
    _kind = SpanKind.PRODUCER
