"""Figures as Prometheus text, version 0.0.4.

A series is two histograms of 24 lines each, and every line repeats its labels: 10,000 series are
120 MB. So the lines of a histogram are one template, which is filled in two steps, numbers and
labels: 3 µs, and 100 µs line by line. The text is made in chunks and never held as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from operator import attrgetter, itemgetter

from broker.telemetry.collected import Totals
from broker.telemetry.figures import EventLabels, SeriesFigures
from broker.telemetry.histogram import BOUNDS_S, Durations
from kubefox.pod import PodPhase, PodStatus

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
_ERROR_DIGIT = 5
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
# The bounds 1, 2 and 5 of each decade: enough for a graph, and half of the text.
_SHOWN = (*range(0, len(BOUNDS_S), 2), len(BOUNDS_S))
_LE = (*(f"{bound:.10g}" for bound in BOUNDS_S), "+Inf")
_has_escapes = re.compile(r'[\\"\n]').search
_EVENT_LABELS = ("role", "app", "deployment", "virtual_environment", "component", "hash")
_EVENT_TEXT = ",".join(f'{name}="%s"' for name in _EVENT_LABELS)
_values_of = attrgetter(*_EVENT_LABELS)
_shown_of = itemgetter(*_SHOWN)
_LABELS = b"\0"
"""Stands for the labels in a template; no label can hold it."""

_Labelled = Sequence[tuple[bytes, SeriesFigures]]


def _histogram_template(name: str) -> bytes:
    """Return the lines of a histogram: bytes to fill with its numbers, and then with its labels."""
    labels = _LABELS.decode()
    buckets = (f'{name}_bucket{{{labels},le="{_LE[at]}"}} %d\n' for at in _SHOWN)
    sums = f"{name}_sum{{{labels}}} %.10g\n", f"{name}_count{{{labels}}} %d\n"
    return "".join((*buckets, *sums)).encode()


_DURATION = "kubefox_request_duration_seconds"
_QUEUE = "kubefox_queue_duration_seconds"
_DURATION_LINES = _histogram_template(_DURATION)
_QUEUE_LINES = _histogram_template(_QUEUE)


def render(totals: Totals, pods: Sequence[PodStatus]) -> str:
    """Return the text of ``/metrics``, without that of ``render_events``."""
    return b"".join(chunks(totals, pods)).decode()


def chunks(totals: Totals, pods: Sequence[PodStatus]) -> Iterator[bytes]:
    """Yield the text of ``render``: whole lines, at most those of one histogram at once."""
    series = []
    for figures in totals.series.values():
        series.append((_labels(figures.labels), figures))
        yield b""
    yield from chain(
        _requests(series),
        _durations(series),
        _in_flight(series),
        _queue(series),
        _streams(series),
        _refused(series),
        _pods(pods),
        _processes(totals),
    )


def render_events(waiting: int, dead: int) -> str:
    """Return the text of ``/metrics`` on emitted events; it is the same from every process."""
    shown = (
        ("kubefox_events_waiting", "Emitted events that wait or are being delivered", waiting),
        ("kubefox_dead_letters", "Emitted events that were given up", dead),
    )
    families = (
        (_head(name, "gauge", meaning), _line(name, "", count)) for name, meaning, count in shown
    )
    return b"".join(chain.from_iterable(families)).decode()


def render_leader(*, is_leader: bool) -> str:
    """Return the text of ``/metrics?leader_only=true`` that each process adds."""
    name, meaning = "kubefox_metrics_leader", "1 if this process returns the metrics, else 0"
    return (_head(name, "gauge", meaning) + _line(name, "", is_leader)).decode()


def _requests(all_series: _Labelled) -> Iterator[bytes]:
    yield _head("kubefox_requests_total", "counter", "Events that were answered")
    for labels, series in all_series:
        for digit, durations in series.by_class.items():
            counted = labels, digit, durations.count
            yield b'kubefox_requests_total{%b,status_class="%dxx"} %d\n' % counted
    yield _head("kubefox_errors_total", "counter", "Events that were answered with 5xx")
    for labels, series in all_series:
        failed = series.by_class.get(_ERROR_DIGIT)
        yield b"kubefox_errors_total{%b} %d\n" % (labels, failed.count if failed else 0)


def _durations(all_series: _Labelled) -> Iterator[bytes]:
    yield _head(
        _DURATION,
        "histogram",
        "Time from the receipt of an event to its answer, by class of its status",
    )
    for labels, series in all_series:
        for digit, durations in series.by_class.items():
            of_class = b'%b,status_class="%dxx"' % (labels, digit)
            yield _histogram(_DURATION_LINES, of_class, durations)


def _in_flight(all_series: _Labelled) -> Iterator[bytes]:
    yield _head("kubefox_requests_in_flight", "gauge", "Events that are being handled now")
    for labels, series in all_series:
        yield b"kubefox_requests_in_flight{%b} %d\n" % (labels, series.in_flight)


def _queue(all_series: _Labelled) -> Iterator[bytes]:
    yield _head(_QUEUE, "histogram", "Time between an event's sending and its handling")
    for labels, series in all_series:
        if series.queue.count:
            yield _histogram(_QUEUE_LINES, labels, series.queue)


def _streams(all_series: _Labelled) -> Iterator[bytes]:
    name = "kubefox_stream_bytes_in_total"
    yield _head(name, "counter", "Bytes of request bodies that came as streams")
    for labels, series in all_series:
        yield b"kubefox_stream_bytes_in_total{%b} %d\n" % (labels, series.stream_bytes_in)
    name = "kubefox_stream_bytes_out_total"
    yield _head(name, "counter", "Bytes of response bodies that were sent as streams")
    for labels, series in all_series:
        yield b"kubefox_stream_bytes_out_total{%b} %d\n" % (labels, series.stream_bytes_out)


def _refused(all_series: _Labelled) -> Iterator[bytes]:
    name = "kubefox_refused_total"
    yield _head(name, "counter", "Events that were refused, by the reason")
    for labels, series in all_series:
        for reason, count in series.refused.items():
            of_reason = b"%b,%b" % (labels, _text({"reason": reason}).encode())
            yield b"kubefox_refused_total{%b} %d\n" % (of_reason, count)


def _pods(pods: Sequence[PodStatus]) -> Iterator[bytes]:
    yield _head("kubefox_pod_restarts_total", "counter", "Restarts of each pod")
    for pod in pods:
        labels = {"app": pod.app, "component": pod.component, "hash": pod.hash, "pod": pod.id}
        yield _line("kubefox_pod_restarts_total", _text(labels), pod.restarts)
    yield _head("kubefox_pods", "gauge", "Pods by phase")
    for phase in PodPhase:
        count = sum(1 for pod in pods if pod.phase is phase)
        yield _line("kubefox_pods", _text({"phase": phase.value}), count)


def _processes(totals: Totals) -> Iterator[bytes]:
    for name in sorted({name for _, _, name in totals.counters}):
        full = f"kubefox_{name}_total"
        yield _head(full, "counter", f"Of each service: {name.replace('_', ' ')}")
        for (app, service, counted), value in totals.counters.items():
            if counted == name:
                yield _line(full, _text(_service(app, service)), value)
    for name in sorted({gauge.name for gauge in totals.gauges}):
        yield _head(f"kubefox_{name}", "gauge", f"Of each process: {name.replace('_', ' ')}")
        for gauge in totals.gauges:
            if gauge.name == name:
                labels = {**_service(gauge.app, gauge.service), "process": gauge.process}
                yield _line(f"kubefox_{name}", _text(labels), gauge.value)


def _service(app: str, service: str) -> dict[str, str]:
    """Return the labels of a process: a component may have the name of the platform's service."""
    return {"app": app, "service": service} if app else {"service": service}


def _head(name: str, kind: str, description: str) -> bytes:
    return f"# HELP {name} {description}\n# TYPE {name} {kind}\n".encode()


def _histogram(lines: bytes, labels: bytes, durations: Durations) -> bytes:
    below = tuple(accumulate(durations.counts))
    return (lines % (*_shown_of(below), durations.total_s, below[-1])).replace(_LABELS, labels)


def _labels(labels: EventLabels) -> bytes:
    values = _values_of(labels)
    if _has_escapes("".join(values)):
        return _text(dict(zip(_EVENT_LABELS, values, strict=True))).encode()
    return (_EVENT_TEXT % values).encode()


def _text(labels: Mapping[str, str]) -> str:
    return ",".join([f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items()])


def _line(name: str, labels: str, value: float) -> bytes:
    return f"{name}{{{labels}}} {float(value):.10g}\n".encode()
