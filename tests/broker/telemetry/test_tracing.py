"""Sampled and kept traces, and the bounds of waiting spans."""

from __future__ import annotations

import asyncio

import pytest

from broker.runtime.ids import UNKNOWN_PROCESS
from broker.telemetry import tracing as module
from broker.telemetry.figures import EventLabels
from broker.telemetry.records import Record
from broker.telemetry.span import SpanKind, SpanRecord
from broker.telemetry.tracing import (
    MAX_INFORMED,
    MAX_KEEPS,
    MAX_KEPT,
    MAX_QUEUED,
    MAX_RECENT,
    KeepTrace,
    Notices,
    Tracing,
)

OWN, CALLER, CALLEE, LATER = 5, 6, 7, 8


class Source:
    def __init__(self, trace_id: str, *neighbours: int, is_sampled: bool = False) -> None:
        self.trace_id, self.is_sampled = trace_id, is_sampled
        self._neighbours = neighbours

    def neighbours(self) -> tuple[int, ...]:
        return self._neighbours

    def record(self) -> Record:
        return SpanRecord(self.trace_id, "1", "", "hop", SpanKind.CLIENT, 0, 1, EventLabels("api"))


class Sent:
    """Collects the flushed records."""

    def __init__(self) -> None:
        self.sampled: list[str] = []
        self.kept: list[str] = []
        self.notices: Notices = []
        self.calls = 0
        self.may_go = asyncio.Event()
        self.may_go.set()

    async def __call__(self, sampled: list[Record], kept: list[Record], notices: Notices) -> None:
        self.calls += 1
        await self.may_go.wait()
        self.sampled += [record.trace_id for record in sampled]
        self.kept += [record.trace_id for record in kept]
        self.notices += notices


async def test_spans_of_a_sampled_trace_are_sent() -> None:
    sent = Sent()
    tracing = Tracing(sent)

    tracing.finish(Source("a", is_sampled=True))
    tracing.finish(Source("b"))
    await tracing.drain()

    assert (sent.sampled, sent.kept, sent.notices) == (["a"], [], [])


async def test_a_kept_trace_has_spans_from_before_and_after() -> None:
    sent = Sent()
    tracing = Tracing(sent)

    tracing.finish(Source("a"))
    tracing.finish(Source("b"))
    assert tracing.keep_failed("a")
    tracing.finish(Source("a"))
    await tracing.drain()

    assert (sent.kept, sent.notices) == (["a", "a"], [])


async def test_each_process_that_took_part_is_informed_once() -> None:
    sent = Sent()
    tracing = Tracing(sent, OWN)

    tracing.finish(Source("a", CALLER))
    tracing.finish(Source("a", CALLEE, OWN, UNKNOWN_PROCESS))
    tracing.finish(Source("b", 9))
    assert tracing.keep_failed("a")
    tracing.finish(Source("a", CALLEE, LATER))
    await tracing.drain()

    notice = KeepTrace("a", OWN)
    assert sent.notices == [(CALLER, notice), (CALLEE, notice), (LATER, notice)]


async def test_a_process_that_says_that_it_keeps_a_trace_is_not_informed() -> None:
    sent = Sent()
    tracing = Tracing(sent, OWN)

    tracing.finish(Source("a", CALLER))
    tracing.keep_also(KeepTrace("a", CALLER))
    tracing.keep_also(KeepTrace("a", CALLEE))
    assert tracing.keep_failed("a")
    tracing.finish(Source("a", CALLEE))
    await tracing.drain()

    assert (sent.kept, sent.notices) == (["a", "a"], [])


async def test_the_numbers_of_failed_and_slow_traces_kept_in_a_second_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However slow the machine is.
    monkeypatch.setattr(module, "KEEPS_WINDOW_S", 3_600)
    tracing = Tracing(Sent())

    slow = [tracing.keep_slow(f"slow-{number}") for number in range(100)]
    failed = [tracing.keep_failed(f"failed-{number}") for number in range(100)]
    await tracing.drain()

    assert (slow.count(True), failed.count(True)) == (MAX_KEEPS, MAX_KEEPS)
    assert len(tracing.kept) == 2 * MAX_KEEPS
    tracing._failed._end_s = 0
    assert tracing.keep_failed("later")
    await tracing.drain()


async def test_recent_spans_and_kept_ids_are_bounded() -> None:
    tracing = Tracing(Sent())

    for number in range(MAX_RECENT + MAX_KEPT + 10):
        tracing.keep_also(KeepTrace(f"kept-{number}", CALLER))
        tracing.finish(Source(str(number)))

    assert (len(tracing.recent), len(tracing.kept)) == (MAX_RECENT, MAX_KEPT)


async def test_notices_of_any_number_of_processes_fill_no_memory() -> None:
    tracing = Tracing(Sent())

    for number in range(2 * MAX_INFORMED):
        tracing.keep_also(KeepTrace("a", number))

    assert len(tracing.kept["a"]) == MAX_INFORMED


async def test_spans_beyond_the_queue_limit_are_dropped_and_counted() -> None:
    sent = Sent()
    sent.may_go.clear()
    tracing = Tracing(sent)

    for _ in range(MAX_QUEUED + 7):
        tracing.finish(Source("a", is_sampled=True))
    sent.may_go.set()
    await tracing.drain()

    assert tracing.dropped == 7
    assert len(sent.sampled) == MAX_QUEUED


async def test_nothing_is_sent_while_nothing_happens() -> None:
    sent = Sent()
    tracing = Tracing(sent)

    tracing.finish(Source("a"))
    await tracing.drain()

    assert sent.calls == 0
    assert tracing._timer is None
