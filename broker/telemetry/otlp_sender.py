"""OTLP over HTTP by the SDK's own exporters; only this module imports the SDK.

``service.name`` is the name of the component, or ``adapter/<kind>``; the collector shows each as a
service of its own. ``service.namespace`` is the app of a component. The exporters read the
collector's address and other settings from the environment; see the specification of
``OTEL_EXPORTER_OTLP_*``.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from broker.telemetry.figures import EventLabels, ProcessFigures, SeriesFigures
from broker.telemetry.histogram import BOUNDS_S, Durations
from broker.telemetry.otlp_messages import LogEntry
from broker.telemetry.records import Record
from broker.telemetry.span import SpanRecord, all_attributes

_is_trace_id = re.compile("[0-9a-f]{32}").fullmatch
_is_span_id = re.compile("[0-9a-f]{16}").fullmatch
SCOPE = InstrumentationScope("kubefox")
_CUMULATIVE = AggregationTemporality.CUMULATIVE
_KINDS = {
    1: SpanKind.INTERNAL,
    2: SpanKind.SERVER,
    3: SpanKind.CLIENT,
    4: SpanKind.PRODUCER,
    5: SpanKind.CONSUMER,
}
_SEVERITIES = (
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
)


class SdkOtlpSender:
    """The SDK's exporters of one process; an ``OtlpSender``.

    Args:
        service: Name of the service for telemetry of no component.
        instance: Id of the process.
        app: App of a pod, the ``service.namespace`` of its telemetry; empty for a process of the
            platform.
    """

    def __init__(self, service: str, instance: str, app: str = "") -> None:
        # The exporters log an error for every failed batch; the caller logs the first only.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._service, self._instance = service, instance
        self._namespace = {"service.namespace": app} if app else {}
        self._started_ns = time.time_ns()
        self._resources: dict[str, Resource] = {}
        self._spans = OTLPSpanExporter()
        self._metrics = OTLPMetricExporter()
        self._logs = OTLPLogExporter()

    def send_spans(self, records: list[Record]) -> bool:
        """Send the spans of records."""
        spans = (span for record in records for span in record.spans())
        readable = [self._to_readable(span) for span in spans if _has_valid_ids(span)]
        return self._spans.export(readable) is SpanExportResult.SUCCESS

    def send_logs(self, entries: list[LogEntry]) -> bool:
        """Send log lines."""
        resource = self._resource(self._service)
        readable = [ReadableLogRecord(_to_log(entry), resource, SCOPE) for entry in entries]
        return self._logs.export(readable) is LogRecordExportResult.SUCCESS

    def send_figures(self, figures: ProcessFigures) -> bool:
        """Send figures."""
        now_ns = time.time_ns()
        # The exporter sends one entry per resource: a second one would replace the first.
        metrics = {self._service: self._of_process(figures, now_ns)}
        for component, series in _by_component(figures.series).items():
            metrics.setdefault(component, []).extend(self._of_series(series, now_ns))
        data = MetricsData([self._resource_metrics(name, group) for name, group in metrics.items()])
        return self._metrics.export(data) is MetricExportResult.SUCCESS

    def close(self) -> None:
        """Stop the sending that runs."""
        for exporter in (self._spans, self._metrics, self._logs):
            exporter.shutdown()

    def _resource(self, service: str) -> Resource:
        resource = self._resources.get(service)
        if resource is None:
            own = {"service.name": service or "kubefox", "service.instance.id": self._instance}
            own |= self._namespace
            resource = self._resources[service] = Resource.create(own)
        return resource

    def _to_readable(self, span: SpanRecord) -> ReadableSpan:
        trace_id = int(span.trace_id, 16)
        parent = _context(trace_id, span.parent_id) if span.parent_id else None
        return ReadableSpan(
            name=span.name,
            context=_context(trace_id, span.span_id),
            parent=parent,
            resource=self._resource(span.labels.component),
            attributes=all_attributes(span, self._instance),
            events=[Event(event.name, event.attributes, event.at_ns) for event in span.events],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.is_error else Status(),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=SCOPE,
        )

    def _resource_metrics(self, service: str, metrics: list[Metric]) -> ResourceMetrics:
        return ResourceMetrics(self._resource(service), [ScopeMetrics(SCOPE, metrics, "")], "")

    def _of_series(self, series: list[SeriesFigures], now_ns: int) -> list[Metric]:
        answered = [
            self._histogram(_attributes(part.labels, f"{digit}xx"), durations, now_ns)
            for part in series
            for digit, durations in part.by_class.items()
        ]
        labeled = [(_attributes(part.labels), part) for part in series]
        waited = [self._histogram(labels, part.queue, now_ns) for labels, part in labeled]
        running = [self._number(labels, part.in_flight, now_ns) for labels, part in labeled]
        received = [self._number(labels, part.stream_bytes_in, now_ns) for labels, part in labeled]
        sent = [self._number(labels, part.stream_bytes_out, now_ns) for labels, part in labeled]
        return [
            _bytes(
                "kubefox.stream.bytes_in", "Bytes of request bodies that came as streams", received
            ),
            _bytes(
                "kubefox.stream.bytes_out",
                "Bytes of response bodies that were sent as streams",
                sent,
            ),
            _durations("kubefox.request.duration", "Duration of requests", answered),
            _durations("kubefox.queue.duration", "Time between sending and handling", waited),
            _up_down("kubefox.request.active", "Requests that are being handled now", running),
        ]

    def _of_process(self, figures: ProcessFigures, now_ns: int) -> list[Metric]:
        counters = [
            Metric(
                f"kubefox.{name}",
                None,
                None,
                Sum([self._number({}, value, now_ns)], _CUMULATIVE, is_monotonic=True),
            )
            for name, value in figures.counters.items()
        ]
        gauges = [
            Metric(f"kubefox.{name}", None, None, Gauge([self._number({}, value, now_ns)]))
            for name, value in figures.gauges.items()
        ]
        return counters + gauges

    def _histogram(
        self, attributes: dict[str, str], durations: Durations, now_ns: int
    ) -> HistogramDataPoint:
        return HistogramDataPoint(
            attributes=attributes,
            start_time_unix_nano=self._started_ns,
            time_unix_nano=now_ns,
            count=durations.count,
            sum=durations.total_s,
            bucket_counts=durations.counts,
            explicit_bounds=BOUNDS_S,
            # Unknown: left out of the message.
            min=None,  # type: ignore[arg-type]
            max=None,  # type: ignore[arg-type]
        )

    def _number(self, attributes: dict[str, str], value: float, now_ns: int) -> NumberDataPoint:
        return NumberDataPoint(attributes, self._started_ns, now_ns, value)


def _has_valid_ids(span: SpanRecord) -> bool:
    """Return whether the ids are valid in OTLP; a component may send any text as an id."""
    is_child = not span.parent_id or _is_span_id(span.parent_id)
    return bool(_is_trace_id(span.trace_id) and _is_span_id(span.span_id) and is_child)


def _by_component(series: Iterable[SeriesFigures]) -> dict[str, list[SeriesFigures]]:
    groups: dict[str, list[SeriesFigures]] = {}
    for part in series:
        groups.setdefault(part.labels.component, []).append(part)
    return groups


def _context(trace_id: int, span_id: str) -> SpanContext:
    return SpanContext(trace_id, int(span_id, 16), False, TraceFlags(TraceFlags.SAMPLED))


def _attributes(labels: EventLabels, status_class: str = "") -> dict[str, str]:
    attributes = {
        "kubefox.app": labels.app,
        "kubefox.deployment": labels.deployment,
        "kubefox.virtual_environment": labels.virtual_environment,
        "kubefox.component": labels.component,
        "kubefox.component.hash": labels.hash,
        "kubefox.role": labels.role,
        "kubefox.status_class": status_class,
    }
    return {key: value for key, value in attributes.items() if value}


def _durations(name: str, description: str, points: Iterable[HistogramDataPoint]) -> Metric:
    return Metric(name, description, "s", Histogram(list(points), _CUMULATIVE))


def _bytes(name: str, description: str, points: list[NumberDataPoint]) -> Metric:
    return Metric(name, description, "By", Sum(points, _CUMULATIVE, is_monotonic=True))


def _up_down(name: str, description: str, points: list[NumberDataPoint]) -> Metric:
    return Metric(name, description, "{request}", Sum(points, _CUMULATIVE, is_monotonic=False))


def _to_log(entry: LogEntry) -> LogRecord:
    severity = next((number for level, number in _SEVERITIES if entry.level >= level), None)
    trace_id = str(entry.fields.get("trace", ""))
    return LogRecord(
        timestamp=entry.at_ns,
        observed_timestamp=entry.at_ns,
        trace_id=int(trace_id, 16) if _is_trace_id(trace_id) else None,
        severity_text=entry.level_name,
        severity_number=severity or SeverityNumber.DEBUG,
        body=entry.message,
        attributes={"logger": entry.logger, **{k: str(v) for k, v in entry.fields.items()}},
    )
