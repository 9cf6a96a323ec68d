"""Which spans are kept, and that what waits is bounded."""

from __future__ import annotations

import asyncio

from broker.telemetry.figures import Labels
from broker.telemetry.records import Record
from broker.telemetry.span import SpanKind, SpanRecord
from broker.telemetry.tracing import MAX_KEEPS, MAX_KEPT, MAX_QUEUED, MAX_RECENT, Tracing


class Hop:
    def __init__(self, trace_id: str) -> None:
        self.trace_id = trace_id

    def record(self) -> Record:
        return SpanRecord(self.trace_id, "1", "", "hop", SpanKind.CLIENT, 0, 1, Labels("api"))


class Sent:
    """Takes what is flushed."""

    def __init__(self) -> None:
        self.sampled: list[str] = []
        self.kept: list[str] = []
        self.keeps: list[str] = []
        self.calls = 0
        self.may_go = asyncio.Event()
        self.may_go.set()

    async def __call__(self, sampled: list[Record], kept: list[Record], keeps: list[str]) -> None:
        self.calls += 1
        await self.may_go.wait()
        self.sampled += [each.trace_id for each in sampled]
        self.kept += [each.trace_id for each in kept]
        self.keeps += keeps


async def test_hops_of_a_sampled_trace_are_sent() -> None:
    sent = Sent()
    tracing = Tracing(sent)

    tracing.finish(Hop("a"), "a", is_sampled=True)
    tracing.finish(Hop("b"), "b", is_sampled=False)
    await tracing.drain()

    assert (sent.sampled, sent.kept, sent.keeps) == (["a"], [], [])


async def test_a_kept_trace_has_hops_from_before_and_after() -> None:
    sent = Sent()
    tracing = Tracing(sent)

    tracing.finish(Hop("a"), "a", is_sampled=False)
    tracing.finish(Hop("b"), "b", is_sampled=False)
    assert tracing.keep("a")
    tracing.finish(Hop("a"), "a", is_sampled=False)
    await tracing.drain()

    assert (sent.kept, sent.keeps) == (["a", "a"], ["a"])


async def test_a_trace_that_another_process_keeps_is_not_told_again() -> None:
    sent = Sent()
    tracing = Tracing(sent)

    tracing.finish(Hop("a"), "a", is_sampled=False)
    tracing.keep_here("a")
    tracing.keep_here("a")
    assert tracing.keep("a")
    await tracing.drain()

    assert (sent.kept, sent.keeps) == (["a"], [])


async def test_in_a_storm_only_some_traces_are_kept() -> None:
    sent = Sent()
    tracing = Tracing(sent)

    kept = [tracing.keep(str(number)) for number in range(100)]
    await tracing.drain()

    assert kept.count(True) == len(sent.keeps) == MAX_KEEPS
    tracing._window_end_s = 0
    assert tracing.keep("later")
    await tracing.drain()


async def test_what_is_remembered_is_bounded() -> None:
    tracing = Tracing(Sent())

    for number in range(MAX_RECENT + MAX_KEPT + 10):
        tracing.keep_here(f"kept-{number}")
        tracing.finish(Hop(str(number)), str(number), is_sampled=False)

    assert (len(tracing.recent), len(tracing.kept)) == (MAX_RECENT, MAX_KEPT)


async def test_spans_beyond_the_bound_are_dropped_and_counted() -> None:
    sent = Sent()
    sent.may_go.clear()
    tracing = Tracing(sent)

    for _ in range(MAX_QUEUED + 7):
        tracing.finish(Hop("a"), "a", is_sampled=True)
    sent.may_go.set()
    await tracing.drain()

    assert tracing.dropped == 7
    assert len(sent.sampled) == MAX_QUEUED


async def test_nothing_is_sent_while_nothing_happens() -> None:
    sent = Sent()
    tracing = Tracing(sent)

    tracing.finish(Hop("a"), "a", is_sampled=False)
    await tracing.drain()

    assert sent.calls == 0
    assert tracing._timer is None
