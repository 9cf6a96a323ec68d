"""The telemetry of a genesis event, from its arrival at an adapter to its answer."""

from __future__ import annotations

from time import time_ns
from typing import Protocol

import msgspec

from broker.runtime import trace_context
from broker.runtime.ids import span_of
from broker.telemetry.deferred import DeferredQueue
from broker.telemetry.labels import AdapterLabels, TelemetryLabels
from broker.telemetry.metrics import Counters, SlowestWindow, count_duration, is_slowest
from broker.telemetry.records import MAX_PATH, GenesisRecord
from broker.telemetry.span import ERROR_STATUS
from broker.telemetry.stream_meters import StreamMeters
from broker.telemetry.tracing import Tracing
from kubefox.context import EventContext
from kubefox.errors import ClientGone, FoxError


class RequestTarget(Protocol):
    """Destination of genesis events; implemented by ``broker.dispatch.targets.DispatchTarget``.

    Attributes:
        component: Name of the component.
        subject: NATS subject of the component version.
        route: Id of the route.
        context: Context of the events.
        token: The context, sealed.
        labels: Labels of the context, after the first measured event.
        counters: Counters of the labels' series, after the first measured event.
        in_flight: Events that wait for their answer.
    """

    component: str
    subject: str
    route: int
    context: EventContext
    token: str
    labels: TelemetryLabels | None
    counters: Counters
    in_flight: int


class RequestTelemetry(msgspec.Struct, gc=False, eq=False):
    """A genesis event while telemetry is off.

    Attributes:
        event_id: Id of the event.
        trace_id: Id of its trace, or empty.
        traceparent: Carried by the event, or empty; see ``trace_context``.
        method: HTTP method of the request, or empty.
        path: Path of the request, percent-encoded; or empty.
        target: Decision of routing; None before it.
        routed_ns: Unix time of the decision; 0 before it.
        sent_ns: Unix time at which the event was sent; 0 before.
        responder: Number of the process that answered; 0 before, or if it is unknown.
    """

    event_id: str
    trace_id: str = ""
    traceparent: str = ""
    method: str = ""
    path: str = ""
    target: RequestTarget | None = None
    routed_ns: int = 0
    sent_ns: int = 0
    responder: int = 0

    def continue_trace(self, traceparent: str, *, sample: bool, is_trusted: bool = True) -> None:
        """Continue the client's trace.

        Args:
            traceparent: Sent by the client, or empty.
            sample: Whether the client asks for a trace.
            is_trusted: Whether the client may have its request traced.
        """
        outer = trace_context.parse(traceparent) if traceparent else None
        if outer is not None:
            trace_id, span_id, is_sampled = outer
            self.trace_id = trace_id
            self.traceparent = trace_context.format_traceparent(
                trace_id, span_id, is_sampled=is_sampled and is_trusted
            )

    def set_target(self, target: RequestTarget) -> None:
        """Record the decision of routing."""
        self.routed_ns = time_ns()
        self.target = target

    def stream_meters(self) -> StreamMeters:
        """Return the meters of the event's streams."""
        return StreamMeters()

    def fail(self, failure: FoxError) -> None:
        """Record the failure; ``end`` follows."""

    def end(self, status: int) -> None:
        """End the event with the status of its answer."""

    def abort(self, error: BaseException) -> None:
        """End the event without an answer."""


class MeasuredRequestTelemetry(RequestTelemetry, gc=False, eq=False, kw_only=True):
    """A genesis event, counted and traced; made by ``AdapterRequests.begin``.

    Attributes:
        adapter: The telemetry of the adapter.
        start_ns: Unix time of the event's arrival.
        end_ns: Unix time of its end; 0 before.
        status: HTTP status of the answer; 0 before.
        is_sampled: Whether its spans are sent.
        parent_id: Span id that the client sent, or empty.
        error: Code of the failure, or empty.
        meters: Meters of its streams; None without streams.
    """

    adapter: AdapterRequests
    start_ns: int
    end_ns: int = 0
    status: int = 0
    is_sampled: bool = False
    parent_id: str = ""
    error: str = ""
    meters: StreamMeters | None = None

    def continue_trace(self, traceparent: str, *, sample: bool, is_trusted: bool = True) -> None:
        """Continue the client's trace, and sample the event's spans if the client may ask for it.

        For the request of another client, the ratio of the process decides as for all others.
        """
        outer = trace_context.parse(traceparent) if traceparent else None
        if outer is not None:
            self.trace_id, self.parent_id, is_sampled = outer
            if is_trusted or not is_sampled:
                self.is_sampled = is_sampled
            self.traceparent = self._own_traceparent()
        if sample and is_trusted:
            self.sample()

    def set_target(self, target: RequestTarget) -> None:
        """Record the decision of routing."""
        self.routed_ns = time_ns()
        self.target = target
        if target.labels is None:
            self.adapter.bind(target)

    def stream_meters(self) -> StreamMeters:
        """Return the meters of the event's streams."""
        if self.meters is None:
            self.meters = StreamMeters(self.labels.series)
        return self.meters

    def fail(self, failure: FoxError) -> None:
        """Record the failure, and count a refusal; ``end`` follows."""
        self.error = failure.code
        self.responder = failure.responder or self.responder
        if failure.refusal is not None:
            self.labels.series.count_refusal(failure.refusal)

    def abort(self, error: BaseException) -> None:
        """End the event without an answer: it has failed, or the client is gone."""
        if isinstance(error, FoxError):
            self.fail(error)
            self.end(error.http_status)
        else:
            self.error = ClientGone.code
            self.end(ClientGone.http_status)

    def end(self, status: int) -> None:
        """End the event with the status of its answer. It is counted later; see ``deferred``."""
        self.status = status
        self.end_ns = time_ns()
        adapter = self.adapter
        if status >= ERROR_STATUS and not self.is_sampled:
            # At once: other processes soon overwrite their recent spans.
            adapter.tracing.keep_failed(self.trace_id)
        adapter.completed.add(self)

    @property
    def labels(self) -> TelemetryLabels:
        """Labels of the event's context; before the decision those of unrouted requests."""
        target = self.target
        return (target and target.labels) or self.adapter.labels.unrouted

    def neighbours(self) -> tuple[int, ...]:
        """Return the number of the process that answered."""
        return (self.responder,)

    def record(self) -> GenesisRecord:
        """Return the record of the event's spans."""
        labels, target = self.labels, self.target
        return GenesisRecord(
            self.trace_id,
            self.parent_id,
            self.event_id,
            self.method,
            self.path[:MAX_PATH],
            labels.event_labels,
            labels.release,
            target.component if target else "",
            target.subject if target else "",
            target.route if target else 0,
            self.start_ns,
            self.routed_ns,
            self.sent_ns,
            self.end_ns,
            self.status,
            self.error,
            self.meters.figures() if self.meters else None,
        )

    def sample(self) -> None:
        """Send the spans of the event's trace."""
        self.is_sampled = True
        self.traceparent = self._own_traceparent()

    def _own_traceparent(self) -> str:
        span_id = span_of(self.event_id)
        return trace_context.format_traceparent(self.trace_id, span_id, is_sampled=self.is_sampled)


class AdapterRequests:
    """The genesis events of one adapter.

    Args:
        labels: Labels of the adapter's events.
        tracing: Of the process.
        completed: Receives events that have ended; see ``count_requests``.
        threshold: Samples the traces that begin here; see ``trace_context.sampling_threshold``.

    Attributes:
        labels: Labels of the adapter's events.
        tracing: Of the process.
        completed: Receives events that have ended.
        window: Current window of the slowest events.
    """

    def __init__(
        self,
        labels: AdapterLabels,
        tracing: Tracing,
        completed: DeferredQueue[MeasuredRequestTelemetry],
        threshold: str,
    ) -> None:
        self.labels = labels
        self.tracing = tracing
        self.completed = completed
        self.window = SlowestWindow(time_ns())
        self._threshold = threshold

    def begin(self, event_id: str) -> MeasuredRequestTelemetry:
        """Return the telemetry of an event that arrives now, in a trace of its own."""
        telemetry = MeasuredRequestTelemetry(event_id, event_id, adapter=self, start_ns=time_ns())
        if event_id < self._threshold:
            telemetry.sample()
        return telemetry

    def bind(self, target: RequestTarget) -> None:
        """Give a target the labels of its context."""
        labels = target.labels = self.labels.of(target.context)
        target.counters = labels.counters


def count_requests(tracing: Tracing, requests: list[MeasuredRequestTelemetry]) -> int:
    """Count genesis events, keep the traces of the slowest ones of a window.

    Returns:
        How many of the events were routed.
    """
    kept, is_any_wanted, unrouted = tracing.kept, False, 0
    for request in requests:
        adapter, target, end_ns = request.adapter, request.target, request.end_ns
        if target is None:
            counters = adapter.labels.unrouted.counters
            unrouted += 1
        else:
            counters = target.counters
        window = adapter.window
        if end_ns > window.end_ns:
            window = adapter.window = SlowestWindow(end_ns)
        duration_ns = end_ns - request.start_ns
        count_duration(counters, request.status, duration_ns)
        is_slow = is_slowest(counters, duration_ns, window)
        trace_id = request.trace_id
        if is_slow and target is not None and not request.is_sampled:
            tracing.keep_slow(trace_id)
        if request.traceparent or trace_id in kept:
            is_any_wanted = True
    tracing.finish_all(requests, is_any_wanted=is_any_wanted)
    return len(requests) - unrouted
