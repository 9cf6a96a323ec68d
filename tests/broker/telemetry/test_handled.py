"""What is put by of an event that was handled is all that its span would tell."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ids import new_id
from broker.receiver import Reply
from broker.telemetry import ended, handled
from broker.telemetry.handled import Handled
from broker.telemetry.handling import MeasuredHandling
from broker.telemetry.metrics import Metrics
from broker.telemetry.records import Record
from broker.telemetry.scope import Scope
from broker.telemetry.telemetry import Telemetry
from broker.telemetry.tracing import Tracing
from model.errors import ComponentFailed
from model.event import Event
from tests.broker.telemetry.world import VIEW

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Process:
    """The telemetry of one, and what it sends."""

    def __init__(self) -> None:
        self.kept: list[Record] = []
        self.sampled: list[Record] = []
        self.tracing = Tracing(self._flush)
        self.ended = ended.Ended(self.tracing)
        self.metrics = Metrics()
        self.scope: Scope = Telemetry("api").scope("api", "h" * 32, VIEW)

    async def _flush(self, sampled: list[Record], kept: list[Record], keeps: list[str]) -> None:
        self.sampled += sampled
        self.kept += kept

    def handle(self, event: Event, status: int = 200) -> MeasuredHandling:
        handling = MeasuredHandling(self.ended, event, self.scope)
        handling.answer(Reply(status))
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
def test_it_is_what_would_be_put_by_of_the_event_itself(
    traceparent: str, path: str, status: int
) -> None:
    process = Process()
    process.ended.defer(lambda _: None, None)

    handling = process.handle(event(traceparent, path), status)
    (put_by,) = process.ended.handled.ended

    whole = handling.record()
    whole = msgspec.structs.replace(whole, end_ns=put_by.end_ns, status=status)
    assert put_by.record() == whole
    assert put_by.trace_id == whole.trace_id == handling.trace_id


@pytest.mark.parametrize("traceparent", ["", f"00-{TRACE}-00f067aa0ba902b7-00"])
async def test_the_trace_is_kept_whenever_that_is_told(traceparent: str) -> None:
    process = Process()
    first, other = event(traceparent), event()
    trace_id = process.handle(first).trace_id
    process.handle(other)

    process.tracing.keep_here(trace_id)
    process.handle(first)
    await process.tracing.drain()

    kept = [next(iter(record.spans())).trace_id for record in process.kept]
    assert kept == [trace_id, trace_id]
    assert [hop.trace_id for hop in process.tracing.recent] == [other.genesis_id]


async def test_what_has_more_to_tell_is_not_cut_short() -> None:
    process = Process()
    process.handle(event(f"00-{TRACE}-00f067aa0ba902b7-01"))
    failed = MeasuredHandling(process.ended, event(), process.scope)
    failed.fail(ComponentFailed("why"))
    await process.tracing.drain()

    assert [record.trace_id for record in process.sampled] == [TRACE]
    (record,) = process.kept
    (span,) = record.spans()
    assert (span.error, len(span.events)) == ("component_failed", 1)


def test_streams_of_an_event_are_told_with_it() -> None:
    process = Process()
    process.ended.defer(lambda _: None, None)
    handling = MeasuredHandling(process.ended, event(), process.scope)
    handling.flows().request.count(5)

    handling.answer(Reply(200))

    assert not process.ended.handled.ended
    process.ended.settle()
    (hop,) = process.tracing.recent
    (span,) = hop.record().spans()
    assert span.attributes["kubefox.stream.bytes_in"] == 5


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**6)), max_size=20))
def test_how_long_they_took_and_waited_is_counted(times: list[tuple[int, int]]) -> None:
    process = Process()
    hops = [
        Handled(process.scope, 200, now, now + 5, sent_us, "", "e", "g", "GET", "/")
        for now, sent_us in times
    ]

    handled.settle_handled(process.tracing, hops)

    figures = process.scope.figures()
    known = [max(0, now - sent_us * 1_000) for now, sent_us in times if sent_us]
    assert (figures.queue.count, round(figures.queue.total_s * 1e9)) == (len(known), sum(known))
    assert sum(each.count for each in figures.by_class.values()) == len(times)


def test_one_whose_span_is_lost_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    process = Process()
    process.tracing.kept["g"] = None
    good = Handled(process.scope, 200, 1, 2, 0, "", "e", "h", "GET", "/")
    odd = msgspec.structs.replace(good, genesis_id="g", path=None)

    handled.settle_handled(process.tracing, [odd, good])

    assert "a span is lost" in caplog.text
    assert list(process.tracing.recent) == [good]
    assert process.scope.figures().by_class[2].count == 2
