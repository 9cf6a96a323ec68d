"""Spans, logs and figures are exported by OTLP; a slow or absent collector stops nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest

from broker.telemetry import otlp
from broker.telemetry.figures import EventLabels, EventRole
from broker.telemetry.metrics import Metrics, count_duration, count_queue_time
from broker.telemetry.otlp import Exporter, LogExportHandler, OtlpSettings, open_exporter
from broker.telemetry.span import SpanKind, SpanRecord
from kubefox.telemetry import SpanEvent
from tests.support.otlp_receiver import Collector, attributes_of, collector

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
UI = EventLabels("ui", "h" * 32, "shop", "v1", "live")
MS = 10**6
SELDOM = OtlpSettings(metric_interval_s=3_600)
logger = logging.getLogger("tests.otlp")


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20")
        yield receiver


@pytest.fixture
async def exporter(receiver: Collector) -> AsyncIterator[Exporter]:
    metrics = Metrics()
    series = metrics.series(UI)
    count_duration(series.counters, 200, 4 * MS)
    count_queue_time(series.counters, MS)
    count_duration(series.counters, 500, 100 * MS)
    unrouted = metrics.series(EventLabels("adapter/http", role=EventRole.GENESIS))
    count_duration(unrouted.counters, 404, MS)
    settings = OtlpSettings(metric_interval_s=0.05)
    async with open_exporter(settings, "ui", "ui-1", metrics, app="shop") as exporter:
        yield exporter


def span(span_id: str = "b7ad6b7169203331", **more: Any) -> SpanRecord:
    return SpanRecord(
        TRACE, span_id, PARENT, "process ui", SpanKind.SERVER, 10**18, 10**18 + 5, UI, **more
    )


async def seen(look: Callable[[], Any]) -> Any:
    """Return what the collector shows as soon as it shows something."""
    while not (found := await asyncio.to_thread(look)):
        pass
    return found


async def test_spans_arrive_under_the_name_of_their_component(
    exporter: Exporter, receiver: Collector
) -> None:
    event = SpanEvent("exception", 10**18 + 1, {"exception.type": "ValueError"})
    exporter.spans.add([span(status=500, error="component_failed", events=(event,))])

    (found,) = await seen(receiver.spans)

    assert (found["namespace"], found["service"]) == ("shop", "ui")
    assert (found["name"], found["kind"]) == ("process ui", "SPAN_KIND_SERVER")
    assert found["status"] == {"message": "component_failed", "code": "STATUS_CODE_ERROR"}
    assert found["attributes"]["kubefox.deployment"] == "v1"
    assert found["attributes"]["http.response.status_code"] == "500"
    assert found["attributes"]["kubefox.pod"] == "ui-1"
    assert attributes_of(found["events"][0]) == {"exception.type": "ValueError"}
    assert found["endTimeUnixNano"] == str(10**18 + 5)
    assert found["parentSpanId"]


@pytest.mark.parametrize("odd", ["", "no-id", "-1", "ab" * 40])
async def test_an_invalid_id_costs_no_other_span_and_no_log_line(
    exporter: Exporter, receiver: Collector, odd: str
) -> None:
    logger.warning("odd", extra={"fields": {"trace": odd}})
    exporter.spans.add([span(odd), msgspec.structs.replace(span(), trace_id=odd), span()])

    (found,) = await seen(receiver.spans)
    (line,) = await seen(receiver.logs)

    assert found["name"] == "process ui"
    assert line["body"] == {"stringValue": "odd"}


async def test_a_batch_that_cannot_be_exported_stops_no_later_one(
    exporter: Exporter, receiver: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    exporter.spans.add([msgspec.structs.replace(span(), kind="odd")])
    while not exporter.spans.dropped:
        await asyncio.sleep(0)
    exporter.spans.add([span()])

    assert await seen(receiver.spans)
    assert "could not be exported" in caplog.text


async def test_figures_arrive_by_deployment(exporter: Exporter, receiver: Collector) -> None:
    found = await seen(receiver.metrics)

    durations = [item for item in found if item["name"] == "kubefox.request.duration"]
    assert {metric["service"] for metric in durations} == {"ui", "adapter/http"}
    own = next(metric for metric in durations if metric["service"] == "ui")
    points = {
        attributes_of(point)["kubefox.status_class"]: point
        for point in own["histogram"]["dataPoints"]
    }
    assert {name: point["count"] for name, point in points.items()} == {"2xx": "1", "5xx": "1"}
    assert attributes_of(points["2xx"])["kubefox.deployment"] == "v1"
    assert "min" not in points["2xx"]
    assert {"kubefox.queue.duration", "kubefox.request.active", "kubefox.otlp_spans_dropped"} <= {
        item["name"] for item in found
    }


async def test_log_lines_arrive_with_their_event(exporter: Exporter, receiver: Collector) -> None:
    fields = {"trace": TRACE, "deployment": "v1"}
    logger.warning("order %s is late", 7, extra={"fields": fields})
    logging.getLogger("opentelemetry.sdk").warning("not of ours")
    try:
        raise ValueError("why")  # noqa: TRY301
    except ValueError:
        logger.exception("failed")

    found = await seen(lambda: receiver.logs()[1:] and receiver.logs())

    late, failed = found
    assert late["body"] == {"stringValue": "order 7 is late"}
    assert late["severityNumber"] == "SEVERITY_NUMBER_WARN"
    assert late["attributes"]["deployment"] == "v1"
    assert late["traceId"]
    assert late["service"] == "ui"
    assert failed["attributes"]["exception.type"] == "ValueError"


async def test_a_log_line_that_cannot_be_formatted_stops_nothing(
    exporter: Exporter, receiver: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    # Not through a logger: pytest's own handlers would fail on such a line.
    LogExportHandler(exporter.logs).handle(
        logger.makeRecord("x", 30, "f", 1, "%d orders", ("seven",), None)
    )
    logger.warning("the next")

    (found,) = await seen(receiver.logs)

    assert found["body"] == {"stringValue": "the next"}
    assert "Logging error" in capsys.readouterr().err


async def test_the_export_queue_is_bounded_while_the_collector_is_away(
    receiver: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.behave(status=500)
    async with open_exporter(SELDOM, "ui", "ui-1", Metrics()) as exporter:
        exporter.spans.add([span()] * (otlp.MAX_WAITING + 100))

        assert len(exporter.spans) == otlp.MAX_WAITING
        assert exporter.spans.dropped == 100
        # Batches that the collector refuses are dropped and counted too.
        await seen(lambda: exporter.spans.dropped == otlp.MAX_WAITING + 100)

        receiver.behave(status=200)
        exporter.spans.add([span()])
        assert len(await seen(receiver.spans)) == 1
        # The exporter knows it only once the collector's answer is back.
        await seen(lambda: "accepts telemetry again" in caplog.text)
    assert caplog.text.count("cannot be reached") == 1
    assert caplog.text.count("accepts telemetry again") == 1


async def test_a_slow_collector_does_not_delay_adding_spans(
    exporter: Exporter, receiver: Collector
) -> None:
    receiver.behave(delay_s=0.2)

    for _ in range(3):
        exporter.spans.add([span()] * otlp.MAX_WAITING)

    assert exporter.spans.dropped >= otlp.MAX_WAITING
    assert len(exporter.spans) == otlp.MAX_WAITING
    receiver.behave(delay_s=0)


async def test_waiting_items_and_final_figures_are_exported_at_the_end(receiver: Collector) -> None:
    async with open_exporter(SELDOM, "ui", "ui-1", Metrics()) as exporter:
        exporter.spans.add([span()])
        logger.warning("going")

    assert len(receiver.spans()) == 1
    assert receiver.logs()[0]["body"] == {"stringValue": "going"}
    assert receiver.metrics()


async def test_a_collector_that_never_answers_does_not_delay_the_end(
    receiver: Collector,
) -> None:
    settings = OtlpSettings(metric_interval_s=3_600, finish_s=0.05)
    receiver.behave(delay_s=0.5)

    async with open_exporter(settings, "ui", "ui-1", Metrics()) as exporter:
        exporter.spans.add([span()] * 10)


def test_without_an_endpoint_nothing_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(otlp.ENDPOINT, raising=False)
    assert otlp.settings_from_environ() is None

    monkeypatch.setenv(otlp.ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv(otlp.INTERVAL, "500")
    assert otlp.settings_from_environ() == OtlpSettings(metric_interval_s=0.5)
