"""All figures as Prometheus text, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from broker.telemetry.collected import Totals
from broker.telemetry.figures import Labels, SeriesFigures
from broker.telemetry.histogram import BOUNDS_S, Durations
from model.pod import PodPhase, PodStatus

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
_ERROR_DIGIT = 5
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
# 1, 2 and 5 of each decade: every second bound is fine enough for a graph, at half the text.
_SHOWN = (*range(0, len(BOUNDS_S), 2), len(BOUNDS_S))
_LE = (*(f"{bound:.10g}" for bound in BOUNDS_S), "+Inf")


def render(totals: Totals, pods: Sequence[PodStatus]) -> str:
    """Return everything that ``/metrics`` shows."""
    series = list(totals.series.values())
    lines = (
        *_requests(series),
        *_durations(series),
        *_in_flight(series),
        *_queue(series),
        *_streams(series),
        *_pods(pods),
        *_processes(totals),
    )
    return "\n".join(lines) + "\n"


def render_events(waiting: int, dead: int) -> str:
    """Return what ``/metrics`` shows of emitted events, whoever delivers them."""
    shown = (
        ("kubefox_events_waiting", "Emitted events that wait or are in hand", waiting),
        ("kubefox_dead_letters", "Emitted events that were given up", dead),
    )
    lines = ([*_head(name, "gauge", what), _line(name, {}, count)] for name, what, count in shown)
    return "".join(f"{line}\n" for each in lines for line in each)


def _requests(series: Iterable[SeriesFigures]) -> Iterator[str]:
    yield from _head("kubefox_requests_total", "counter", "Events that were answered")
    for each in series:
        for digit, durations in each.by_class.items():
            labels = _labels(each.labels) | {"status_class": f"{digit}xx"}
            yield _line("kubefox_requests_total", labels, durations.count)
    yield from _head("kubefox_errors_total", "counter", "Events that were answered with 5xx")
    for each in series:
        errors = each.by_class.get(_ERROR_DIGIT, Durations()).count
        yield _line("kubefox_errors_total", _labels(each.labels), errors)


def _durations(series: Iterable[SeriesFigures]) -> Iterator[str]:
    name = "kubefox_request_duration_seconds"
    yield from _head(name, "histogram", "Time that events took, by class of their status")
    for each in series:
        for digit, durations in each.by_class.items():
            labels = _labels(each.labels) | {"status_class": f"{digit}xx"}
            yield from _histogram(name, labels, durations)


def _in_flight(series: Iterable[SeriesFigures]) -> Iterator[str]:
    yield from _head("kubefox_requests_in_flight", "gauge", "Events being handled")
    for each in series:
        yield _line("kubefox_requests_in_flight", _labels(each.labels), each.in_flight)


def _queue(series: Iterable[SeriesFigures]) -> Iterator[str]:
    name = "kubefox_queue_duration_seconds"
    yield from _head(name, "histogram", "Time between an event's sending and its handling")
    for each in series:
        if each.queue.count:
            yield from _histogram(name, _labels(each.labels), each.queue)


def _streams(series: Sequence[SeriesFigures]) -> Iterator[str]:
    name = "kubefox_stream_bytes_in_total"
    yield from _head(name, "counter", "Bytes of requests' bodies that came as streams")
    for each in series:
        yield _line(name, _labels(each.labels), each.stream_bytes_in)
    name = "kubefox_stream_bytes_out_total"
    yield from _head(name, "counter", "Bytes of answers' bodies that went as streams")
    for each in series:
        yield _line(name, _labels(each.labels), each.stream_bytes_out)


def _pods(pods: Sequence[PodStatus]) -> Iterator[str]:
    yield from _head("kubefox_pod_restarts_total", "counter", "Restarts of each pod")
    for pod in pods:
        labels = {"app": pod.app, "component": pod.component, "hash": pod.hash, "pod": pod.id}
        yield _line("kubefox_pod_restarts_total", labels, pod.restarts)
    yield from _head("kubefox_pods", "gauge", "Pods by phase")
    for phase in PodPhase:
        count = sum(1 for pod in pods if pod.phase is phase)
        yield _line("kubefox_pods", {"phase": phase.value}, count)


def _processes(totals: Totals) -> Iterator[str]:
    for name in sorted({name for _, name in totals.counters}):
        full = f"kubefox_{name}_total"
        yield from _head(full, "counter", f"Of each service: {name.replace('_', ' ')}")
        for (service, counted), value in totals.counters.items():
            if counted == name:
                yield _line(full, {"service": service}, value)
    for name in sorted({name for _, _, name, _ in totals.gauges}):
        yield from _head(f"kubefox_{name}", "gauge", f"Of each process: {name.replace('_', ' ')}")
        for process, service, shown, value in totals.gauges:
            if shown == name:
                labels = {"service": service, "process": process}
                yield _line(f"kubefox_{name}", labels, value)


def _head(name: str, kind: str, description: str) -> Iterator[str]:
    yield f"# HELP {name} {description}"
    yield f"# TYPE {name} {kind}"


def _histogram(name: str, labels: Mapping[str, str], durations: Durations) -> Iterator[str]:
    below = tuple(accumulate(durations.counts))
    for at in _SHOWN:
        yield _line(f"{name}_bucket", {**labels, "le": _LE[at]}, below[at])
    yield _line(f"{name}_sum", labels, durations.total_s)
    yield _line(f"{name}_count", labels, durations.count)


def _labels(labels: Labels) -> dict[str, str]:
    return {
        "role": labels.role,
        "app": labels.app,
        "deployment": labels.deployment,
        "virtual_environment": labels.virtual_environment,
        "component": labels.component,
        "hash": labels.hash,
    }


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {float(value):.10g}"
