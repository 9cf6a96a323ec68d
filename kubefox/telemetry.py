"""Figures and traces in the form that the control API returns."""

from __future__ import annotations

import msgspec

AttributeValue = str | bool | int | float | list[str]
Attributes = dict[str, AttributeValue]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of some requests.

    Attributes:
        requests: How many were answered.
        errors: How many of them were answered with 5xx.
        p50_ms: Median latency; None without requests.
        p95_ms: 95th percentile of the latency.
        p99_ms: 99th percentile of the latency.
        rate_per_s: Requests per second; None without a time window.
        refused: How many were refused, by the reason; see ``Refusal``. An event that a pod refuses
            is none of its ``requests``.
    """

    requests: int
    errors: int
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    rate_per_s: float | None = None
    refused: dict[str, int] = {}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one deployment in one virtual environment.

    Attributes:
        app: Name of the app; empty for requests without a deployment.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        total: Figures since the processes started.
        recent: Figures within the requested window, or None.
        in_flight: How many requests are being handled.
        queue_p95_ms: 95th percentile of the wait between sender and handler; None if not measured.
    """

    app: str
    deployment: str
    virtual_environment: str
    total: Summary
    recent: Summary | None = None
    in_flight: int = 0
    queue_p95_ms: float | None = None


class ComponentRows(msgspec.Struct, frozen=True, kw_only=True):
    """The events of one component version: in total and by deployment.

    Attributes:
        component: Name of the component, or ``adapter/<kind>``.
        hash: Full content hash; empty for an adapter.
        all: Total of all deployments.
        deployments: One row for each deployment; they add up to ``all``.
    """

    component: str
    hash: str
    all: Row
    deployments: tuple[Row, ...]


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the whole platform.

    Attributes:
        at_s: Unix time.
        window_s: Length of the window of ``recent``; 0 without a window.
        deployments: Genesis events, as measured at the adapters.
        components: Events that components and adapters handled.
    """

    at_s: float
    window_s: float
    deployments: tuple[Row, ...]
    components: tuple[ComponentRows, ...]


class SpanEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event within a span."""

    name: str
    at_ns: int
    attributes: Attributes = {}


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A span in the form that the control API returns; see ``SpanRecord``.

    Attributes:
        span_id: Id of the span, hexadecimal.
        parent_id: Id of the parent span; empty for the first span.
        name: Name of the span.
        kind: Kind of the span, as in OpenTelemetry.
        service: The component, or ``adapter/<kind>``.
        pod: Id of the pod, or empty.
        start_ns: Unix time in nanoseconds at which it started.
        duration_ns: Duration.
        status: HTTP status of the response; 0 without a response.
        error: Code of the error, or empty.
        attributes: All attributes.
        events: Events within the span.
    """

    span_id: str
    parent_id: str
    name: str
    kind: str
    service: str
    pod: str
    start_ns: int
    duration_ns: int
    status: int
    error: str
    attributes: Attributes
    events: tuple[SpanEvent, ...] = ()


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A trace; perhaps some of its spans are missing.

    Attributes:
        trace_id: 32 hex digits.
        spans: Spans in order of their start.
    """

    trace_id: str
    spans: tuple[Span, ...]


class TraceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The summary of a trace.

    Attributes:
        trace_id: 32 hex digits.
        name: Name of its first span.
        path: URL path, or empty.
        app: Name of the app.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        start_ns: Unix time.
        duration_ns: Duration of its first span.
        status: Status of its first span.
        error: Error of its first span.
        spans: How many spans there are.
    """

    trace_id: str
    name: str
    path: str
    app: str
    deployment: str
    virtual_environment: str
    start_ns: int
    duration_ns: int
    status: int
    error: str
    spans: int
