"""The store of recent traces in memory."""

from __future__ import annotations

import msgspec
import pytest

from broker.telemetry.figures import EventLabels
from broker.telemetry.records import CallRecord, HandledRecord, Record, RecordBatch
from broker.telemetry.span import SpanKind, SpanRecord
from broker.telemetry.trace_store import TraceQuery, TraceStore
from kubefox.errors import NotFound
from kubefox.telemetry import TraceSummary

UI = EventLabels("ui", "h" * 32, "shop", "v1", "live")


def span(
    trace_id: str, span_id: str, parent_id: str = "", *, start: int = 0, **more: object
) -> SpanRecord:
    record = SpanRecord(trace_id, span_id, parent_id, "GET", SpanKind.SERVER, start, start + 9, UI)
    return msgspec.structs.replace(record, **more)


def batch(*spans: Record) -> bytes:
    return msgspec.msgpack.encode(RecordBatch("p1", "ui-1", spans))


async def test_spans_of_several_batches_make_one_trace() -> None:
    store = TraceStore()
    store.add_sampled(batch(span("aaaa1", "2", "1", start=5), span("bbbb1", "1")))
    store.add_kept(batch(span("aaaa1", "1", start=1)))

    trace = await store.find("aaaa")

    assert trace.trace_id == "aaaa1"
    assert [span.span_id for span in trace.spans] == ["1", "2"]
    assert trace.spans[0].attributes["kubefox.pod"] == "ui-1"
    assert trace.spans[0].attributes["kubefox.deployment"] == "v1"


async def test_a_trace_is_found_by_the_id_of_an_event() -> None:
    store = TraceStore()
    store.add_sampled(batch(span("aaaa1", "1", attributes={"kubefox.event.id": "vm-1"})))

    assert (await store.find("vm-1")).trace_id == "aaaa1"


async def test_an_unknown_trace_is_not_found() -> None:
    store = TraceStore()
    store.add_sampled(batch(span("aaaa1", "1")))

    for name in ("cccc", "aaa", ""):
        with pytest.raises(NotFound):
            await store.find(name)


async def test_the_latest_traces_come_first() -> None:
    store = TraceStore()
    store.add_sampled(batch(*(span(f"trace{at}", "1", start=at) for at in range(5))))

    found = await store.recent(TraceQuery(limit=2))

    assert [summary.trace_id for summary in found] == ["trace4", "trace3"]


async def test_traces_are_found_by_deployment_component_and_error() -> None:
    store = TraceStore()
    other = EventLabels("api", "h" * 32, "shop", "v2", "live")
    store.add_sampled(batch(span("good", "1"), span("good", "2", "1", start=2)))
    store.add_sampled(batch(span("bad", "1", labels=other, status=503, error="no_pod_ready")))

    async def ids(query: TraceQuery) -> list[str]:
        return [summary.trace_id for summary in await store.recent(query)]

    assert await ids(TraceQuery(errors=True)) == ["bad"]
    assert await ids(TraceQuery(component="ui")) == ["good"]
    assert await ids(TraceQuery(deployment="v2")) == ["bad"]
    assert await ids(TraceQuery(virtual_environment="other")) == []
    assert {summary.trace_id: summary.spans for summary in await store.recent(TraceQuery())} == {
        "good": 2,
        "bad": 1,
    }


async def test_many_sampled_traces_do_not_replace_failed_ones() -> None:
    payload = batch(span("flood", "1"))
    store = TraceStore(sampled_bytes=len(payload) * 3, kept_bytes=len(payload) * 3)
    store.add_kept(batch(span("failed", "1")))

    for _ in range(100):
        store.add_sampled(payload)

    assert {summary.trace_id for summary in await store.recent(TraceQuery())} == {"flood", "failed"}
    assert len(store._sampled.batches) == 3


@pytest.mark.parametrize("payload", [b"what?", b"\x93\xa1\xff\xa0\x90"])
async def test_a_batch_that_cannot_be_decoded_is_reported_once_and_dropped(
    payload: bytes,
) -> None:
    reported: list[Exception] = []
    store = TraceStore(reported.append)
    store.add_sampled(payload)
    store.add_kept(payload)
    store.add_sampled(batch(span("good", "1")))

    first, second = await store.recent(TraceQuery()), await store.recent(TraceQuery())

    assert len(first) == len(second) == 1
    assert len(reported) == 2


async def test_a_span_with_an_invalid_id_is_shown_with_the_others() -> None:
    store = TraceStore()
    handled = HandledRecord("", "", "no-id", "aaaa1", "GET", "/", UI, 0, 9, 200, "")
    called = CallRecord("aaaa1", "00" * 16, "1", "api", "evt", UI, 0, 9, 200, "")
    store.add_sampled(batch(handled, span("aaaa1", "1"), called))

    found = await store.find("aaaa1")

    assert {span.name for span in found.spans} == {"GET", "send api", "process ui"}


async def test_spans_of_others_are_not_visible_whoever_adds_to_their_trace() -> None:
    store = TraceStore()
    bank = EventLabels("vault", "h" * 32, "bank", "v1", "live")
    store.add_kept(batch(span("aaaa1", "1", start=5, labels=bank), span("bbbb1", "1", labels=bank)))
    store.add_kept(batch(span("aaaa1", "2", start=1)))

    def is_visible(summary: TraceSummary) -> bool:
        return summary.app == "shop"

    trace = await store.find("aaaa", is_visible)
    found = await store.recent(TraceQuery(), is_visible)

    assert [span.service for span in trace.spans] == ["ui"]
    assert [(summary.trace_id, summary.spans) for summary in found] == [("aaaa1", 1)]
    with pytest.raises(NotFound):
        await store.find("bbbb", is_visible)
