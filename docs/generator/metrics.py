"""Every Prometheus metric: name, type and labels as ``/metrics`` renders them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from broker.telemetry import prometheus
from broker.telemetry.collected import Gauge, Totals
from broker.telemetry.figures import EventLabels, SeriesFigures
from broker.telemetry.histogram import BUCKETS, Durations
from docs.generator.markdown import check_complete, code, table
from kubefox.pod import PodPhase, PodStatus
from kubefox.refusal import Refusal

ROOT = Path(__file__).parents[2]
ROOMS = ("kubefox", "routing", "broker", "control", "adapters", "pods", "fox")

MEANINGS: dict[str, str] = {
    "kubefox_requests_total": "Events that were answered, by the class of their status",
    "kubefox_errors_total": "Events that were answered with 5xx",
    "kubefox_request_duration_seconds": "Time from the receipt of an event to its answer",
    "kubefox_requests_in_flight": "Events that are being handled now",
    "kubefox_queue_duration_seconds": "Time between the sending of an event and its handling",
    "kubefox_stream_bytes_in_total": "Bytes of request bodies that came as streams",
    "kubefox_stream_bytes_out_total": "Bytes of response bodies that were sent as streams",
    "kubefox_refused_total": "Events that were refused, by the reason, which is listed below: by a "
    "pod or an adapter that received them (role `component` or `adapter`), or as the client "
    "sees it (role `genesis`), whichever hop has refused",
    "kubefox_pod_restarts_total": "Restarts of each pod",
    "kubefox_pods": "Number of pods in each phase",
    "kubefox_events_waiting": "Emitted events that wait or are being delivered",
    "kubefox_dead_letters": "Emitted events that were given up",
    "kubefox_events_emitted_total": "Events that components emitted",
    "kubefox_events_delivered_total": "Emitted events that were handled below 400",
    "kubefox_events_retried_total": "Failed attempts that are followed by another one",
    "kubefox_events_not_begun_total": "Deliveries that found no pod, or no place in one in time",
    "kubefox_events_postponed_total": "Deliveries put back because too many events of the same "
    "deployment and virtual environment waited in the process",
    "kubefox_events_dead_lettered_total": "Emitted events that became dead letters",
    "kubefox_pod_sleeps_total": "Idle component versions that were stopped",
    "kubefox_pod_wakes_total": "Idle component versions that were started for a request",
    "kubefox_retries_total": "Requests sent once more because their pod died before it answered",
    "kubefox_holds_total": "Requests that found no pod, and were sent when one was ready",
    "kubefox_http_connections": "Open connections of HTTP clients",
    "kubefox_http_selection": "[Policy](selectors.md#who-may-select-what) of a listener: 0 "
    "`released`, 1 `open` for direct requests and `released` for others, 2 `signed`, 3 `open`",
    "kubefox_http_connections_evicted_total": "Connections without a request that were closed to "
    "make room for new ones",
    "kubefox_control_unauthenticated_total": "Requests to the control API without a valid token",
    "kubefox_control_throttled_total": "Those of them that were over the limit of their address",
    "kubefox_control_forbidden_total": "Requests to the control API whose token had not the role",
    "kubefox_audit_lost_total": "Refusals that could not be written to the audit log",
    "kubefox_malformed_messages_total": "Messages over NATS that could not be read",
    "kubefox_forbidden_messages_total": "Messages and subscriptions that the credentials of a "
    "process do not allow",
    "kubefox_forged_messages_total": "Messages over NATS of senders that claimed to be others",
    "kubefox_nats_reconnects_total": "Reconnects to NATS",
    "kubefox_nats_requests_waiting": "Requests over NATS that wait for a reply; not of idle pods",
    "kubefox_spans_dropped_total": "Spans that could not be sent to control",
    "kubefox_otlp_spans_dropped_total": "Spans that a collector did not take in time",
    "kubefox_otlp_logs_dropped_total": "Log lines that a collector did not take in time",
    "kubefox_context_cache_hits_total": "Events whose context was in memory: its view in a pod, "
    "its data in a broker",
    "kubefox_context_cache_misses_total": "Events whose context had to be requested or read first",
    "kubefox_context_cache_evictions_total": "Contexts that had to make room for others",
    "kubefox_context_cache_bytes": "Memory of these contexts, by estimate; the limit is "
    "`FOX_CONTEXT_CACHE_BYTES`, in a broker an eighth of it",
    "kubefox_route_cache_hits_total": "Requests that found the routes of their context in memory",
    "kubefox_route_cache_misses_total": "Contexts whose routes were prepared for a request",
    "kubefox_route_cache_evictions_total": "Contexts whose routes had to make room for others",
    "kubefox_route_cache_bytes": "Memory of the routes, by estimate; the limit is "
    "`FOX_CONTEXT_CACHE_BYTES`",
    "kubefox_metrics_leader": "1 in the control process that returns the metrics, 0 in the others; "
    "with `leader_only=true` alone",
    "kubefox_clock_ahead_seconds": "How far the clock of the process's host is ahead of NATS's",
    "kubefox_snapshot_current": "1 while the process follows the control plane's data, else 0",
    "kubefox_snapshot_revision": "Revision of the data by which the process routes",
}

REFUSALS: dict[str, str] = {
    "queue_full": "503: too many events of its deployment and virtual environment are in flight or "
    "wait in the pod; [add replicas](../how-to/scale.md)",
    "too_late": "503: the event would have waited for too long, or been answered after its "
    "deadline; [add replicas](../how-to/scale.md)",
    "requests": "503: too many requests of its deployment and virtual environment are open in the "
    "HTTP adapter; add workers, or raise `FOX_HTTP_CONCURRENCY`",
    "streams": "503: too many streams of its deployment and virtual environment are open in the "
    "pod or the HTTP adapter; add replicas or workers, or raise `FOX_POD_CONCURRENCY` or "
    "`FOX_HTTP_STREAMS`",
    "body_memory": "503: the bodies of other requests leave no memory; raise "
    "`FOX_BODY_MEMORY_BYTES`",
    "body_too_large": "413: the body is over the limit of one body",
    "body_too_slow": "408: the body did not arrive in `FOX_BODY_TIMEOUT_S`, or was slower than "
    "`FOX_CLIENT_MIN_BYTES_PER_S`",
    "client_too_slow": "the response was cut off: the client did not read it for "
    "`FOX_CLIENT_STALL_S`, or was slower than `FOX_CLIENT_MIN_BYTES_PER_S`",
    "headers_too_large": "431: path, query, headers or cookies are over a limit",
    "match_work": "431: the request has more text for the regular expressions of the rules than "
    "may be matched; simplify them",
    "events_full": "503: too many emitted events wait; look at `kubefox_events_waiting`, and at "
    "the pods of the component that should handle them",
    "draining": "503: the process that received the request is shutting down",
}

_TYPE = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="')


def metrics() -> str:
    """Return one row for each metric.

    Raises:
        ValueError: A metric has no meaning here, or is unknown.
    """
    text = _rendered()
    types = dict(_TYPE.findall(text))
    check_complete("metrics", types, MEANINGS)
    rows = [
        (code(name), types[name], ", ".join(map(code, _labels(text, name))), meaning)
        for name, meaning in MEANINGS.items()
    ]
    return table(["Metric", "Type", "Labels", "Meaning"], rows)


def refusals() -> str:
    """Return one row for each reason of ``kubefox_refused_total``.

    Raises:
        ValueError: A reason has no meaning here, or is unknown.
    """
    check_complete("reasons of refusals", list(Refusal), REFUSALS)
    rows = [(code(name), meaning) for name, meaning in REFUSALS.items()]
    return table(["Reason", "Status and meaning"], rows)


def watched(kind: str) -> list[str]:
    """Return the names that the code gives to ``watch_counter`` or ``watch_gauge``."""
    files = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return sorted({name for path in files for name in _calls(path, kind)})


def _calls(path: Path, kind: str) -> Iterator[str]:
    source = path.read_text()
    if kind not in source:
        return
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr=name), args=[ast.Constant(value=str(text)), *_]):
                if name == kind:
                    yield text


def _rendered() -> str:
    """Return ``/metrics`` of a platform that shows each metric once."""
    labels = EventLabels("api-server", "0" * 32, "shop", "shop-v1", "dev")
    durations = Durations((1, *[0] * (BUCKETS - 1)), 1.0)
    series = SeriesFigures(labels, {2: durations}, durations, refused={Refusal.TOO_LATE: 1})
    totals = Totals(
        at_s=0,
        series={labels: series},
        counters={("shop", "api-server", name): 1 for name in watched("watch_counter")},
        gauges=tuple(Gauge("shop", "api-server", "id", name, 1) for name in watched("watch_gauge")),
    )
    pod = PodStatus(
        id="api-server-0-0", app="shop", component="api-server", hash="0", phase=PodPhase.READY
    )
    leader = prometheus.render_leader(is_leader=True)
    return prometheus.render(totals, (pod,)) + prometheus.render_events(0, 0) + leader


def _labels(text: str, name: str) -> list[str]:
    line = re.search(rf"^{name}(?:_bucket)?{{(.*)}}", text, re.MULTILINE)
    return _LABEL.findall(line[1]) if line else []
