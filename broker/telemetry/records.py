"""Records of completed events and calls; spans are made of them when they are read.

A sampled genesis event makes three spans and a handled one another: 5 µs and 800 bytes in the
process that is measured. A record costs 0.6 µs and a third of the bytes, and most are never read.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from broker.runtime import trace_context
from broker.runtime.ids import span_of
from broker.telemetry.figures import EventLabels
from broker.telemetry.span import SpanKind, SpanRecord
from broker.telemetry.stream_meters import StreamFigures
from kubefox.telemetry import Attributes, SpanEvent

MAX_PATH = 256
"""Characters of a path that a record holds."""


class GenesisRecord(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=True):
    """A genesis event: three spans, of the adapter, the routing decision and the sending.

    Attributes:
        trace_id: 32 hex digits.
        parent_id: Span id that the client sent, or empty.
        event_id: Id of the event; the span ids are derived from it.
        method: HTTP method, or empty.
        path: Percent-encoded, cut to ``MAX_PATH``; or empty.
        labels: Labels of the event.
        release: Id of the release, or empty.
        component: Name of the target component, or empty.
        subject: Subject of the target, or empty.
        route: Id of the route.
        start_ns: Unix time of the arrival.
        routed_ns: Unix time of the routing decision; 0 without one.
        sent_ns: Unix time of the sending; 0 if it was not sent.
        end_ns: Unix time of the answer.
        status: HTTP status of the answer.
        error: Code of the failure, or empty.
        streams: Totals of its streams, if it had any.
    """

    trace_id: str
    parent_id: str
    event_id: str
    method: str
    path: str
    labels: EventLabels
    release: str
    component: str
    subject: str
    route: int
    start_ns: int
    routed_ns: int
    sent_ns: int
    end_ns: int
    status: int
    error: str
    streams: StreamFigures | None = None

    def spans(self) -> Iterator[SpanRecord]:
        """Yield the spans."""
        hop_id = span_of(self.event_id)
        root_id = trace_context.derived_span_id(hop_id, 1)
        yield self._root(root_id)
        yield self._decision(trace_context.derived_span_id(hop_id, 2), root_id)
        if self.sent_ns:
            yield self._hop(hop_id, root_id)

    def _root(self, span_id: str) -> SpanRecord:
        attributes: Attributes = {"kubefox.event.id": self.event_id}
        if self.path:
            attributes |= {"http.request.method": self.method, "url.path": self.path}
        if self.release:
            attributes["kubefox.release"] = self.release
        attributes |= _stream_attributes(self.streams)
        return SpanRecord(
            self.trace_id,
            span_id,
            self.parent_id,
            self.method or self.labels.component,
            SpanKind.SERVER,
            self.start_ns,
            self.end_ns,
            self.labels,
            self.status,
            self.error,
            attributes,
        )

    def _decision(self, span_id: str, root_id: str) -> SpanRecord:
        return SpanRecord(
            self.trace_id,
            span_id,
            root_id,
            "resolve",
            SpanKind.INTERNAL,
            self.start_ns,
            self.routed_ns or self.end_ns,
            self.labels,
            0,
            "" if self.routed_ns else self.error,
        )

    def _hop(self, span_id: str, root_id: str) -> SpanRecord:
        return SpanRecord(
            self.trace_id,
            span_id,
            root_id,
            f"send {self.component}",
            SpanKind.CLIENT,
            self.sent_ns,
            self.end_ns,
            self.labels,
            self.status,
            self.error,
            {"messaging.destination.name": self.subject, "kubefox.route": self.route},
        )


class HandledRecord(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=True):
    """An event that a component or an adapter handled.

    Attributes:
        traceparent: Carried by the event, or empty.
        span_id: 16 hex digits; empty if it is derived from the parent's, see ``handled_id``.
        event_id: Id of the event; without a traceparent the parent's id is derived from it.
        genesis_id: Id of the genesis event; without a traceparent it is the trace's id.
        method: HTTP method, or operation.
        path: Percent-encoded, cut to ``MAX_PATH``.
        labels: Labels of the event.
        start_ns: Unix time.
        end_ns: Unix time.
        status: HTTP status of the answer.
        error: Code of the failure, or empty.
        name: Name of the span, if the handler's author set one, or empty.
        attributes: Set by the author.
        events: Set by the author, in order of time.
        streams: Totals of its streams, if it had any.
        kind: Kind of the span.
    """

    traceparent: str
    span_id: str
    event_id: str
    genesis_id: str
    method: str
    path: str
    labels: EventLabels
    start_ns: int
    end_ns: int
    status: int
    error: str
    name: str = ""
    attributes: Attributes = {}
    events: tuple[SpanEvent, ...] = ()
    streams: StreamFigures | None = None
    kind: SpanKind = SpanKind.SERVER

    @property
    def trace_id(self) -> str:
        """Id of its trace."""
        return trace_context.trace_id_of(self.traceparent, self.genesis_id)

    def spans(self) -> Iterator[SpanRecord]:
        """Yield the span."""
        parent_id = trace_context.parent_id_of(self.traceparent, self.event_id)
        attributes: Attributes = {
            "http.request.method": self.method,
            "url.path": self.path,
            "messaging.message.id": self.event_id,
            "messaging.message.conversation_id": self.genesis_id,
        }
        yield SpanRecord(
            self.trace_id,
            self.span_id or handled_id(parent_id),
            parent_id,
            self.name or f"process {self.labels.component}",
            self.kind,
            self.start_ns,
            self.end_ns,
            self.labels,
            self.status,
            self.error,
            {**attributes, **_stream_attributes(self.streams), **self.attributes},
            self.events,
        )


class CallRecord(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=True):
    """A call of a handler to another component or an adapter.

    Attributes:
        trace_id: 32 hex digits.
        event_id: Id of the event; the span id is derived from it.
        parent_id: Span id of the parent, 16 hex digits.
        dependency: Name of the called component or adapter.
        subject: Subject of the dependency.
        labels: Labels of the calling event.
        start_ns: Unix time.
        end_ns: Unix time.
        status: HTTP status of the answer; 0 without an answer.
        error: Code of the failure, or empty.
        verb: ``send``; or ``emit``, without an answer.
        kind: Kind of the span.
        streams: Totals of its streams, if it had any.
    """

    trace_id: str
    event_id: str
    parent_id: str
    dependency: str
    subject: str
    labels: EventLabels
    start_ns: int
    end_ns: int
    status: int
    error: str
    verb: str = "send"
    kind: SpanKind = SpanKind.CLIENT
    streams: StreamFigures | None = None

    def spans(self) -> Iterator[SpanRecord]:
        """Yield the span."""
        yield SpanRecord(
            self.trace_id,
            span_of(self.event_id),
            self.parent_id,
            f"{self.verb} {self.dependency}",
            self.kind,
            self.start_ns,
            self.end_ns,
            self.labels,
            self.status,
            self.error,
            {"messaging.destination.name": self.subject, **_stream_attributes(self.streams)},
        )


def handled_id(parent_id: str) -> str:
    """Return the span id of handling an event that the span ``parent_id`` sent."""
    return trace_context.derived_span_id(parent_id, 4)


def _stream_attributes(streams: StreamFigures | None) -> Attributes:
    return streams.attributes() if streams else {}


Record = GenesisRecord | HandledRecord | CallRecord | SpanRecord


class RecordBatch(msgspec.Struct, frozen=True, array_like=True):
    """Records of one process, in one message.

    Attributes:
        process: Its id on NATS.
        pod: Id of the pod, or empty.
        records: In the order of their end.
    """

    process: str
    pod: str
    records: tuple[Record, ...]
