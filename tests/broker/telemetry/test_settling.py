"""Events that have ended are counted when what they led to is on its way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.telemetry.records import Record
from broker.telemetry.settling import Settling
from broker.telemetry.tracing import Tracing


async def flush(sampled: list[Record], kept: list[Record], keeps: list[str]) -> None:
    pass


class Event:
    def __init__(self, name: str, settled: list[str]) -> None:
        self.name, self.settled = name, settled

    def settle(self) -> None:
        if not self.name:
            raise ValueError("why")
        self.settled.append(self.name)


@pytest.fixture
def settling() -> Settling:
    return Settling(Tracing(flush))


def test_without_a_connection_an_event_is_settled_at_once(settling: Settling) -> None:
    settled: list[str] = []

    settling.put(Event("a", settled))

    assert settled == ["a"]


def test_all_events_of_a_turn_are_settled_together(settling: Settling) -> None:
    settled: list[str] = []
    asked: list[Callable[[], None]] = []
    settling.defer(asked.append)

    for name in ("a", "b", "c"):
        settling.put(Event(name, settled))

    assert (settled, len(asked)) == ([], 1)
    asked[0]()
    assert settled == ["a", "b", "c"]
    settling.put(Event("d", settled))
    assert len(asked) == 2


def test_whoever_wants_the_figures_now_has_them_settled_once(settling: Settling) -> None:
    settled: list[str] = []
    asked: list[Callable[[], None]] = []
    settling.defer(asked.append)
    settling.put(Event("a", settled))

    settling.settle()
    asked[0]()

    assert settled == ["a"]


def test_one_that_cannot_be_counted_holds_up_no_other(
    settling: Settling, caplog: pytest.LogCaptureFixture
) -> None:
    settled: list[str] = []
    settling.defer(lambda _: None)

    for name in ("a", "", "b"):
        settling.put(Event(name, settled))
    settling.settle()

    assert settled == ["a", "b"]
    assert "could not be counted" in caplog.text
