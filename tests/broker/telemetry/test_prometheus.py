"""Prometheus text, parsed by the client library of Prometheus."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from broker.telemetry.collected import CollectedFigures, Totals
from broker.telemetry.figures import EventLabels
from broker.telemetry.metrics import IN_FLIGHT, Metrics, count_duration, count_queue_time
from broker.telemetry.prometheus import chunks, render, render_events
from kubefox.pod import PodPhase, PodStatus
from kubefox.refusal import Refusal
from kubefox.steps import finish

MS = 10**6
LABELS = ("component", "hash", "app", "deployment", "virtual_environment")
LINES_OF_A_HISTOGRAM = 24
STRANGE = 'a "strange"\\ name\nof two lines'


def families() -> dict[str, Metric]:
    metrics = Metrics()
    series = metrics.series(EventLabels("api", "h", "shop", STRANGE, "live"))
    series.add_stream_bytes(bytes_in=5, bytes_out=7)
    for duration_ms, status in ((1, 200), (4, 200), (90_000, 500)):
        count_duration(series.counters, status, duration_ms * MS)
        count_queue_time(series.counters, duration_ms * MS)
    series.counters[IN_FLIGHT] += 2
    series.count_refusal(Refusal.TOO_LATE)
    metrics.watch_counter("nats_reconnects", lambda: 4)
    metrics.watch_gauge("snapshot_current", lambda: True)
    collected = CollectedFigures()
    finish(collected.add(metrics.figures("p1", "kubefox")))
    pod = PodStatus(
        id="api-1", app="shop", component="api", hash="h", phase=PodPhase.READY, restarts=3
    )
    return families_of(render(finish(collected.totals(1.0, ["p1"])), [pod]))


def families_of(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_requests_are_counted_by_status_class() -> None:
    samples = families()["kubefox_requests"].samples

    assert {sample.labels["status_class"]: sample.value for sample in samples} == {
        "2xx": 2,
        "5xx": 1,
    }
    assert {sample.labels["deployment"] for sample in samples} == {STRANGE}


def test_refused_events_are_counted_by_their_reason() -> None:
    (sample,) = families()["kubefox_refused"].samples

    assert (sample.name, sample.value) == ("kubefox_refused_total", 1)
    assert sample.labels["reason"] == "too_late"
    assert sample.labels["deployment"] == STRANGE


def test_a_histogram_is_cumulative_up_to_inf() -> None:
    samples = families()["kubefox_request_duration_seconds"].samples
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in samples
        if sample.name.endswith("_bucket") and sample.labels["status_class"] == "2xx"
    ]

    assert buckets == sorted(buckets)
    assert [value for le, value in buckets if le in {0.0005, 0.002, 0.005, float("inf")}] == [
        *(0, 1, 2, 2)
    ]
    assert [sample.value for sample in samples if sample.name.endswith("_count")] == [2, 1]


def test_gauges_counters_and_pods_are_rendered() -> None:
    found = families()

    assert found["kubefox_errors"].samples[0].value == 1
    assert found["kubefox_requests_in_flight"].samples[0].value == 2
    assert found["kubefox_queue_duration_seconds"].type == "histogram"
    assert found["kubefox_pod_restarts"].samples[0].value == 3
    phases = {sample.labels["phase"]: sample.value for sample in found["kubefox_pods"].samples}
    assert phases["ready"] == 1
    assert phases["back-off"] == 0
    reconnects = found["kubefox_nats_reconnects"].samples[0]
    assert (reconnects.labels, reconnects.value) == ({"service": "kubefox"}, 4)
    current = found["kubefox_snapshot_current"].samples[0]
    assert (current.labels["process"], current.value) == ("p1", 1)


def test_a_component_with_the_name_of_the_platform_has_series_of_its_own() -> None:
    metrics = Metrics()
    metrics.watch_counter("nats_reconnects", lambda: 4)
    metrics.watch_gauge("nats_requests_waiting", lambda: 1)
    collected = CollectedFigures()
    for process, app in (("host-1", ""), ("kubefox-1", "shop"), ("kubefox-2", "blog")):
        figures = metrics.figures(process, "kubefox")
        finish(collected.add(msgspec.structs.replace(figures, app=app)))

    shown = families_of(render(finish(collected.totals(1.0, ["host-1", "kubefox-1"])), []))

    counted = [sample.labels for sample in shown["kubefox_nats_reconnects"].samples]
    assert counted == [
        {"service": "kubefox"},
        {"app": "shop", "service": "kubefox"},
        {"app": "blog", "service": "kubefox"},
    ]
    gauges = [sample.labels for sample in shown["kubefox_nats_requests_waiting"].samples]
    assert gauges == [
        {"service": "kubefox", "process": "host-1"},
        {"app": "shop", "service": "kubefox", "process": "kubefox-1"},
    ]


def test_waiting_events_and_dead_letters_are_rendered() -> None:
    shown = {
        family.name: family.samples[0].value
        for family in text_string_to_metric_families(render_events(3, 2))
    }

    assert shown == {"kubefox_events_waiting": 3, "kubefox_dead_letters": 2}


def test_stream_bytes_are_rendered_by_direction() -> None:
    shown = families()

    assert [sample.value for sample in shown["kubefox_stream_bytes_in"].samples] == [5]
    assert [sample.value for sample in shown["kubefox_stream_bytes_out"].samples] == [7]


@given(
    st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=8), min_size=5, max_size=5),
    st.lists(st.tuples(st.sampled_from([200, 404, 500]), st.integers(1, 90_000)), max_size=9),
)
def test_figures_and_labels_of_any_text_are_parsed_back(
    names: list[str], events: list[tuple[int, int]]
) -> None:
    # The parser of Prometheus takes these for the ends of lines, and the escape in "\\n" for one.
    names = ["".join(text.split()).replace("\\", "/") for text in names]
    metrics = Metrics()
    series = metrics.series(EventLabels(*names))
    for status, duration_ms in events:
        count_duration(series.counters, status, duration_ms * MS)
    collected = CollectedFigures()
    finish(collected.add(metrics.figures("p1", "kubefox")))

    shown = families_of(render(finish(collected.totals(1.0, ["p1"])), []))

    expected = dict(zip(LABELS, names, strict=True))
    samples = shown["kubefox_request_duration_seconds"].samples
    assert all(expected.items() <= sample.labels.items() for sample in samples)
    assert sum(sample.value for sample in samples if sample.name.endswith("_count")) == len(events)
    assert sum(sample.value for sample in samples if sample.name.endswith("_sum")) == pytest.approx(
        sum(duration_ms for _, duration_ms in events) / 1_000
    )
    for status_class in ("2xx", "4xx", "5xx"):
        durations_ms = [ms for status, ms in events if f"{status // 100}xx" == status_class]
        for sample in samples:
            if (
                sample.name.endswith("_bucket")
                and sample.labels["status_class"] == status_class
                and sample.labels["le"] != "+Inf"
            ):
                bound_ms = float(sample.labels["le"]) * 1_000
                assert sample.value == sum(ms <= bound_ms for ms in durations_ms)


def test_a_chunk_is_whole_lines_and_at_most_one_histogram() -> None:
    # So that the collector can yield to the loop between them, however many series there are.
    made = [chunk for chunk in chunks(many_series(100), []) if chunk]

    assert all(chunk.endswith(b"\n") for chunk in made)
    assert max(chunk.count(b"\n") for chunk in made) == LINES_OF_A_HISTOGRAM


def many_series(count: int) -> Totals:
    metrics = Metrics()
    for number in range(count):
        series = metrics.series(EventLabels("api", "h", "shop", f"v{number}"))
        count_duration(series.counters, 200, MS)
        count_queue_time(series.counters, MS)
    collected = CollectedFigures()
    finish(collected.add(metrics.figures("p1", "kubefox")))
    return finish(collected.totals(1.0, ["p1"]))
