"""Completed events are counted later, and together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.telemetry.completed import CompletedEvents
from broker.telemetry.deferred import DeferredQueue
from broker.telemetry.records import Record
from broker.telemetry.tracing import Notices, Tracing


class Processed(list[str]):
    """Collects the processed items."""

    def __call__(self, names: list[str]) -> None:
        self.extend(names)


class Completed:
    def __init__(self, name: str, processed: list[str]) -> None:
        self.name, self.processed = name, processed

    def process(self) -> None:
        if not self.name:
            raise ValueError("why")
        self.processed.append(self.name)


async def flush(sampled: list[Record], kept: list[Record], notices: Notices) -> None:
    pass


@pytest.fixture
def processed() -> Processed:
    return Processed()


@pytest.fixture
def queue(processed: Processed) -> DeferredQueue[str]:
    return DeferredQueue(processed)


def test_without_a_connection_an_event_is_processed_at_once(
    queue: DeferredQueue[str], processed: Processed
) -> None:
    queue.add("a")

    assert processed == ["a"]


def test_all_events_of_a_turn_are_processed_together(
    queue: DeferredQueue[str], processed: Processed
) -> None:
    scheduled: list[Callable[[], None]] = []
    queue.defer(scheduled.append)

    for name in ("a", "b", "c"):
        queue.add(name)

    assert (processed, len(scheduled)) == ([], 1)
    scheduled[0]()
    assert processed == ["a", "b", "c"]
    queue.add("d")
    assert len(scheduled) == 2


def test_flush_processes_the_waiting_events_once(
    queue: DeferredQueue[str], processed: Processed
) -> None:
    scheduled: list[Callable[[], None]] = []
    queue.defer(scheduled.append)
    queue.add("a")

    queue.flush()
    scheduled[0]()

    assert processed == ["a"]


def test_without_a_deferral_the_waiting_events_are_processed(
    queue: DeferredQueue[str], processed: Processed
) -> None:
    queue.defer(lambda _: None)
    queue.add("a")

    queue.defer(None)
    queue.add("b")

    assert processed == ["a", "b"]


def test_an_event_that_cannot_be_counted_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    processed: list[str] = []
    events = CompletedEvents(Tracing(flush))
    events.defer(lambda _: None)

    for name in ("a", "", "b"):
        events.others.add(Completed(name, processed))
    events.flush()

    assert processed == ["a", "b"]
    assert "could not be counted" in caplog.text
