"""Completed events: the record of a HandledEvent is that of its event."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.dispatch.handling import Reply
from broker.runtime.ids import new_id
from broker.telemetry import completed
from broker.telemetry.completed import HandledEvent
from broker.telemetry.labels import TelemetryLabels
from broker.telemetry.measured_handling import MeasuredHandlerTelemetry
from broker.telemetry.metrics import Metrics
from broker.telemetry.records import Record
from broker.telemetry.telemetry import Telemetry
from broker.telemetry.tracing import KeepTrace, Notices, Tracing
from kubefox.errors import ComponentFailed
from kubefox.event import Event
from tests.broker.telemetry.world import VIEW

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Process:
    """The telemetry of a process, and the records that it sends."""

    def __init__(self) -> None:
        self.kept: list[Record] = []
        self.sampled: list[Record] = []
        self.tracing = Tracing(self._flush)
        self.completed = completed.CompletedEvents(self.tracing)
        self.metrics = Metrics()
        self.labels: TelemetryLabels = Telemetry("api").labels_of("api", "h" * 32, VIEW)

    async def _flush(self, sampled: list[Record], kept: list[Record], notices: Notices) -> None:
        self.sampled += sampled
        self.kept += kept

    def handle(self, event: Event, status: int = 200) -> MeasuredHandlerTelemetry:
        handling = MeasuredHandlerTelemetry(self.completed, event, self.labels)
        handling.complete(Reply(status))
        return handling


def event(traceparent: str = "", path: str = "/orders", sent_us: int = 1) -> Event:
    return Event(
        id=new_id(),
        genesis_id=new_id(),
        type="component",
        context="token",
        source="ui@1",
        deadline_ms=0,
        method="PUT",
        path=path,
        traceparent=traceparent,
        sent_us=sent_us,
    )


@pytest.mark.parametrize("traceparent", ["", f"00-{TRACE}-00f067aa0ba902b7-00"])
@given(path=st.text(max_size=600).map("/".__add__), status=st.integers(100, 499))
def test_a_handled_event_has_the_record_of_its_event(
    traceparent: str, path: str, status: int
) -> None:
    process = Process()
    process.completed.defer(lambda _: None)

    handling = process.handle(event(traceparent, path), status)
    (handled,) = process.completed.handled.waiting

    whole = handling.record()
    whole = msgspec.structs.replace(whole, end_ns=handled.end_ns, status=status)
    assert handled.record() == whole
    assert handled.trace_id == whole.trace_id == handling.trace_id


@pytest.mark.parametrize("traceparent", ["", f"00-{TRACE}-00f067aa0ba902b7-00"])
async def test_spans_before_and_after_the_keeping_of_a_trace_are_sent(traceparent: str) -> None:
    process = Process()
    first, other = event(traceparent), event()
    trace_id = process.handle(first).trace_id
    process.handle(other)

    process.tracing.keep_also(KeepTrace(trace_id, 7))
    process.handle(first)
    await process.tracing.drain()

    kept = [next(iter(record.spans())).trace_id for record in process.kept]
    assert kept == [trace_id, trace_id]
    assert [hop.trace_id for hop in process.tracing.recent] == [other.genesis_id]


async def test_sampled_and_failed_events_have_whole_records() -> None:
    process = Process()
    process.handle(event(f"00-{TRACE}-00f067aa0ba902b7-01"))
    failed = MeasuredHandlerTelemetry(process.completed, event(), process.labels)
    failed.fail(ComponentFailed("why"))
    await process.tracing.drain()

    assert [record.trace_id for record in process.sampled] == [TRACE]
    (record,) = process.kept
    (span,) = record.spans()
    assert (span.error, len(span.events)) == ("component_failed", 1)


def test_the_span_of_an_event_shows_its_streams() -> None:
    process = Process()
    process.completed.defer(lambda _: None)
    handling = MeasuredHandlerTelemetry(process.completed, event(), process.labels)
    handling.stream_meters().request.count(5)

    handling.complete(Reply(200))

    assert not process.completed.handled.waiting
    process.completed.flush()
    (hop,) = process.tracing.recent
    (span,) = hop.record().spans()
    assert span.attributes["kubefox.stream.bytes_in"] == 5


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**6)), max_size=20))
def test_durations_and_queue_times_are_counted(times: list[tuple[int, int]]) -> None:
    process = Process()
    hops = [
        HandledEvent(process.labels, 200, now, now + 5, sent_us, "", "e", "g", "GET", "/")
        for now, sent_us in times
    ]

    completed.count_handled(process.tracing, hops)

    figures = process.labels.series.figures()
    known = [max(0, now - sent_us * 1_000) for now, sent_us in times if sent_us]
    assert (figures.queue.count, round(figures.queue.total_s * 1e9)) == (len(known), sum(known))
    assert sum(value.count for value in figures.by_class.values()) == len(times)


def test_an_event_whose_span_is_lost_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    process = Process()
    process.tracing.kept["g"] = set()
    good = HandledEvent(process.labels, 200, 1, 2, 0, "", "e", "h", "GET", "/")
    odd = msgspec.structs.replace(good, genesis_id="g", path=None)

    completed.count_handled(process.tracing, [odd, good])

    assert "a span is lost" in caplog.text
    assert list(process.tracing.recent) == [good]
    assert process.labels.series.figures().by_class[2].count == 2
