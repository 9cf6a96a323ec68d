"""Recent traces in memory."""

from __future__ import annotations

import msgspec
import pytest

from broker.telemetry.figures import Labels
from broker.telemetry.records import CallRecord, HandledRecord, Record, RecordBatch
from broker.telemetry.span import SpanKind, SpanRecord
from broker.telemetry.trace_store import TraceQuery, TraceStore
from model.errors import NotFound

UI = Labels("ui", "h" * 32, "shop", "v1", "live")


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
    assert [each.span_id for each in trace.spans] == ["1", "2"]
    assert trace.spans[0].attributes["kubefox.pod"] == "ui-1"
    assert trace.spans[0].attributes["kubefox.deployment"] == "v1"


async def test_a_trace_is_found_by_the_id_of_an_event() -> None:
    store = TraceStore()
    store.add_sampled(batch(span("aaaa1", "1", attributes={"kubefox.event.id": "vm-1"})))

    assert (await store.find("vm-1")).trace_id == "aaaa1"


async def test_a_trace_that_is_not_there_is_not_found() -> None:
    store = TraceStore()
    store.add_sampled(batch(span("aaaa1", "1")))

    for name in ("cccc", "aaa", ""):
        with pytest.raises(NotFound):
            await store.find(name)


async def test_the_latest_traces_come_first() -> None:
    store = TraceStore()
    store.add_sampled(batch(*(span(f"trace{at}", "1", start=at) for at in range(5))))

    found = await store.recent(TraceQuery(limit=2))

    assert [each.trace_id for each in found] == ["trace4", "trace3"]


async def test_traces_are_found_by_what_took_part() -> None:
    store = TraceStore()
    other = Labels("api", "h" * 32, "shop", "v2", "live")
    store.add_sampled(batch(span("good", "1"), span("good", "2", "1", start=2)))
    store.add_sampled(batch(span("bad", "1", labels=other, status=503, error="no_pod_ready")))

    async def ids(query: TraceQuery) -> list[str]:
        return [each.trace_id for each in await store.recent(query)]

    assert await ids(TraceQuery(errors=True)) == ["bad"]
    assert await ids(TraceQuery(component="ui")) == ["good"]
    assert await ids(TraceQuery(deployment="v2")) == ["bad"]
    assert await ids(TraceQuery(virtual_environment="other")) == []
    assert {each.trace_id: each.spans for each in await store.recent(TraceQuery())} == {
        "good": 2,
        "bad": 1,
    }


async def test_a_flood_of_sampled_traces_leaves_those_that_failed() -> None:
    payload = batch(span("flood", "1"))
    store = TraceStore(sampled_bytes=len(payload) * 3, kept_bytes=len(payload) * 3)
    store.add_kept(batch(span("failed", "1")))

    for _ in range(100):
        store.add_sampled(payload)

    assert {each.trace_id for each in await store.recent(TraceQuery())} == {"flood", "failed"}
    assert len(store._sampled.payloads) == 3


@pytest.mark.parametrize("payload", [b"what?", b"\x93\xa1\xff\xa0\x90"])
async def test_a_batch_that_cannot_be_read_is_left_out(
    caplog: pytest.LogCaptureFixture, payload: bytes
) -> None:
    store = TraceStore()
    store.add_sampled(payload)
    store.add_sampled(batch(span("good", "1")))

    assert len(await store.recent(TraceQuery())) == 1
    assert "cannot be read" in caplog.text


async def test_whatever_an_id_is_its_span_is_shown_with_the_others() -> None:
    store = TraceStore()
    handled = HandledRecord("", "", "no-id", "aaaa1", "GET", "/", UI, 0, 9, 200, "")
    called = CallRecord("aaaa1", "00" * 16, "1", "api", "evt", UI, 0, 9, 200, "")
    store.add_sampled(batch(handled, span("aaaa1", "1"), called))

    found = await store.find("aaaa1")

    assert {each.name for each in found.spans} == {"GET", "send api", "process ui"}
