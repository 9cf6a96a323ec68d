"""Spans of OpenTelemetry's API in a handler."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from broker.runtime.trace_context import TraceContext
from broker.telemetry.figures import EventLabels
from broker.telemetry.live_span import (
    MAX_ATTRIBUTES,
    MAX_CHARACTERS,
    MAX_EVENTS,
    LiveSpan,
    LiveTracer,
)
from broker.telemetry.records import Record
from broker.telemetry.span import SpanKind, SpanRecord
from broker.telemetry.tracing import Notices, Tracing

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def keep_nothing(sampled: list[Record], kept: list[Record], notices: Notices) -> None:
    """Take what is flushed."""


def begin(*, is_sampled: bool = True) -> LiveSpan:
    parent = TraceContext(TRACE, PARENT, is_sampled)
    return LiveSpan("price", parent, EventLabels("api"), Tracing(keep_nothing))


def record(span: LiveSpan) -> SpanRecord:
    return span.record()


async def test_attributes_and_events_are_in_the_record_of_a_live_span() -> None:
    span = begin()

    span.update_name("total")
    span.set_attributes({"items": 3, "sizes": ("s", "m"), "gift": True, "weight": 1.5})
    span.add_event("discount", {"percent": 10}, timestamp=7)
    span.record_exception(ValueError("why"))
    span.end(end_time=9)
    span.end(end_time=10)

    found = record(span)
    assert (found.name, found.kind, found.end_ns) == ("total", SpanKind.INTERNAL, 9)
    assert found.attributes == {"items": 3, "sizes": ["s", "m"], "gift": True, "weight": 1.5}
    assert [event.name for event in found.events] == ["discount", "exception"]
    assert (found.events[0].at_ns, found.events[0].attributes) == (7, {"percent": 10})
    assert not span.is_recording()


async def test_attributes_and_events_of_a_live_span_are_bounded() -> None:
    span = begin()

    for number in range(MAX_ATTRIBUTES + MAX_EVENTS):
        span.set_attribute(f"a{number}", "x" * (MAX_CHARACTERS + 1))
        span.add_event("again")
    span.set_attribute("a0", "still changed")

    found = record(span)
    assert (len(found.attributes), len(found.events)) == (MAX_ATTRIBUTES, MAX_EVENTS)
    assert len(str(found.attributes["a1"])) == MAX_CHARACTERS
    assert found.attributes["a0"] == "still changed"


async def test_the_last_status_of_a_live_span_wins() -> None:
    span = begin()

    span.set_status(StatusCode.ERROR)
    assert record(span).is_error
    span.set_status(Status(StatusCode.ERROR, "sold out"))
    span.set_status(StatusCode.UNSET)
    assert record(span).error == "sold out"
    span.set_status(StatusCode.OK)
    assert not record(span).is_error


async def test_a_library_span_is_a_child_of_the_current_span() -> None:
    parent = begin()
    tracer = LiveTracer()

    with trace.use_span(parent), tracer.start_as_current_span("SELECT") as child:
        assert trace.get_current_span() is child

    assert isinstance(child, LiveSpan)
    assert (child.trace_id, child.parent_id) == (TRACE, parent.span_id)
    assert child.get_span_context().trace_flags.sampled
    assert not begin(is_sampled=False).get_span_context().trace_flags.sampled


async def test_without_a_current_span_a_library_span_is_not_recorded() -> None:
    with LiveTracer().start_as_current_span("SELECT") as span:
        assert not span.is_recording()
