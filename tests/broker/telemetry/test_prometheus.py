"""Prometheus text, as its own client reads it."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from broker.telemetry.collected import Collected
from broker.telemetry.figures import Labels
from broker.telemetry.metrics import IN_FLIGHT, Metrics, end
from broker.telemetry.prometheus import render, render_events
from model.pod import PodPhase, PodStatus

MS = 10**6
STRANGE = 'a "strange"\\ name\nof two lines'


def families() -> dict[str, Metric]:
    metrics = Metrics()
    series = metrics.series(Labels("api", "h", "shop", STRANGE, "live"))
    series.add_stream_bytes(bytes_in=5, bytes_out=7)
    for duration_ms, status in ((1, 200), (4, 200), (90_000, 500)):
        series.words[IN_FLIGHT] += 1
        end(series.words, status, duration_ms * MS, duration_ms * MS)
    series.words[IN_FLIGHT] += 1
    series.words[IN_FLIGHT] += 1
    metrics.watch_counter("nats_reconnects", lambda: 4)
    metrics.watch_gauge("snapshot_current", lambda: True)
    known = Collected()
    known.take(metrics.figures("p1", "kubefox"))
    pod = PodStatus(
        id="api-1", app="shop", component="api", hash="h", phase=PodPhase.READY, restarts=3
    )
    text = render(known.totals(1.0, ["p1"]), [pod])
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_requests_are_counted_by_status_class() -> None:
    samples = families()["kubefox_requests"].samples

    assert {each.labels["status_class"]: each.value for each in samples} == {"2xx": 2, "5xx": 1}
    assert {each.labels["deployment"] for each in samples} == {STRANGE}


def test_a_histogram_is_cumulative_and_ends_with_all() -> None:
    samples = families()["kubefox_request_duration_seconds"].samples
    buckets = [
        (float(each.labels["le"]), each.value)
        for each in samples
        if each.name.endswith("_bucket") and each.labels["status_class"] == "2xx"
    ]

    assert buckets == sorted(buckets)
    assert [value for le, value in buckets if le in {0.0005, 0.002, 0.005, float("inf")}] == [
        *(0, 1, 2, 2)
    ]
    assert [each.value for each in samples if each.name.endswith("_count")] == [2, 1]


def test_the_rest_is_there_too() -> None:
    found = families()

    assert found["kubefox_errors"].samples[0].value == 1
    assert found["kubefox_requests_in_flight"].samples[0].value == 2
    assert found["kubefox_queue_duration_seconds"].type == "histogram"
    assert found["kubefox_pod_restarts"].samples[0].value == 3
    phases = {each.labels["phase"]: each.value for each in found["kubefox_pods"].samples}
    assert phases["ready"] == 1
    assert phases["back-off"] == 0
    reconnects = found["kubefox_nats_reconnects"].samples[0]
    assert (reconnects.labels, reconnects.value) == ({"service": "kubefox"}, 4)
    current = found["kubefox_snapshot_current"].samples[0]
    assert (current.labels["process"], current.value) == ("p1", 1)


def test_events_that_wait_and_dead_letters_are_shown() -> None:
    shown = {
        each.name: each.samples[0].value
        for each in text_string_to_metric_families(render_events(3, 2))
    }

    assert shown == {"kubefox_events_waiting": 3, "kubefox_dead_letters": 2}


def test_what_streams_carried_is_counted_each_way() -> None:
    shown = families()

    assert [each.value for each in shown["kubefox_stream_bytes_in"].samples] == [5]
    assert [each.value for each in shown["kubefox_stream_bytes_out"].samples] == [7]
