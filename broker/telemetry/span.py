"""A finished span as it is kept, sent and shown: small, and free of any library.

A platform's own span object costs 2 µs; one of the OpenTelemetry SDK 22 to 30, in a request that
costs 300. So the SDK's form is made only of what leaves through OTLP, see ``otlp``.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import msgspec

from broker.telemetry.figures import Labels
from model.telemetry import Attributes, SpanEvent

ERROR_STATUS = 500


class SpanKind(IntEnum):
    """What a span stands for; numbered as in OTLP."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class SpanRecord(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=True):
    """One finished span.

    Attributes:
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        parent_id: 16 hex digits, or empty.
        name: Such as ``GET /orders``.
        kind: See ``SpanKind``.
        start_ns: Unix time.
        end_ns: Unix time.
        labels: Whose span it is.
        status: HTTP status of the answer, 0 where there is none.
        error: Code of the failure, or empty.
        attributes: By the semantic conventions; ``kubefox.*`` is made of ``labels``.
        events: In order of time.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: SpanKind
    start_ns: int
    end_ns: int
    labels: Labels
    status: int = 0
    error: str = ""
    attributes: Attributes = {}
    events: tuple[SpanEvent, ...] = ()

    def spans(self) -> Iterator[SpanRecord]:
        """Yield itself, as the records that stand for several do theirs."""
        yield self

    @property
    def is_error(self) -> bool:
        """Whether it failed."""
        return bool(self.error) or self.status >= ERROR_STATUS


def all_attributes(span: SpanRecord, pod: str) -> Attributes:
    """Return the attributes of a span, those that all spans have included."""
    labels = span.labels
    own = {
        "kubefox.app": labels.app,
        "kubefox.deployment": labels.deployment,
        "kubefox.virtual_environment": labels.virtual_environment,
        "kubefox.component": labels.component,
        "kubefox.component.hash": labels.hash,
        "kubefox.pod": pod,
        "error.type": span.error or (str(span.status) if span.is_error else ""),
    }
    answered: Attributes = {"http.response.status_code": span.status} if span.status else {}
    known = {key: value for key, value in own.items() if value}
    return {**known, **_messaging(span), **answered, **span.attributes}


def _messaging(span: SpanRecord) -> Attributes:
    """Return what is the same for all hops; so it need not travel."""
    if span.kind is SpanKind.CLIENT and "messaging.destination.name" in span.attributes:
        return {"messaging.system": "nats", "messaging.operation.type": "send"}
    if span.kind is SpanKind.PRODUCER:
        return {"messaging.system": "nats", "messaging.operation.type": "send"}
    if span.kind is SpanKind.CONSUMER:
        return {"messaging.system": "nats", "messaging.operation.type": "receive"}
    if span.kind is SpanKind.SERVER and "messaging.message.id" in span.attributes:
        return {"messaging.system": "nats", "messaging.operation.type": "process"}
    return {}
