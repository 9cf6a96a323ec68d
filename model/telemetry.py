"""Figures and traces as the control API shows them."""

from __future__ import annotations

import msgspec

AttributeValue = str | bool | int | float | list[str]
Attributes = dict[str, AttributeValue]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Some requests, in a few figures.

    Attributes:
        requests: How many were answered.
        errors: How many of them with 5xx.
        p50_ms: Half took no longer; None without requests.
        p95_ms: The same for 95 of 100.
        p99_ms: The same for 99 of 100.
        rate_per_s: Requests a second; None where no time is given.
    """

    requests: int
    errors: int
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    rate_per_s: float | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one deployment in one virtual environment.

    Attributes:
        app: Name of the app; empty for requests that led to no deployment.
        deployment: Its name.
        virtual_environment: Its name.
        total: Since the processes started.
        recent: Within the window that was asked for, or None.
        in_flight: How many are being handled.
        queue_p95_ms: Waiting time between sender and handler; None where none was measured.
    """

    app: str
    deployment: str
    virtual_environment: str
    total: Summary
    recent: Summary | None = None
    in_flight: int = 0
    queue_p95_ms: float | None = None


class ComponentRows(msgspec.Struct, frozen=True, kw_only=True):
    """The events of one component version: all of them, and by deployment.

    Attributes:
        component: Its name, or ``adapter/<kind>``.
        hash: Full content hash; empty for an adapter.
        all: Of every deployment together.
        deployments: Of each; they add up to ``all``.
    """

    component: str
    hash: str
    all: Row
    deployments: tuple[Row, ...]


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        at_s: Unix time.
        window_s: What ``recent`` stands for; 0 without it.
        deployments: Genesis events, as clients see them.
        components: Events that components and adapters have handled.
    """

    at_s: float
    window_s: float
    deployments: tuple[Row, ...]
    components: tuple[ComponentRows, ...]


class SpanEvent(msgspec.Struct, frozen=True, array_like=True):
    """Something that happened at one moment of a span."""

    name: str
    at_ns: int
    attributes: Attributes = {}


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A span for who looks at it; see ``SpanRecord``.

    Attributes:
        service: The component, or ``adapter/<kind>``.
        pod: Id of the pod, or empty.
        duration_ns: How long it took.
        attributes: All of them.
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
    """A trace, or what is known of it.

    Attributes:
        trace_id: 32 hex digits.
        spans: In order of their start.
    """

    trace_id: str
    spans: tuple[Span, ...]


class TraceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A trace in a line.

    Attributes:
        trace_id: 32 hex digits.
        name: Of its first span.
        path: URL path, or empty.
        app: Name of the app.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        start_ns: Unix time.
        duration_ns: Of its first span.
        status: Of its first span.
        error: Of its first span.
        spans: How many there are.
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
