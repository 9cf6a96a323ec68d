"""Events that have ended are counted when what they led to is on its way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.telemetry.ended import Ended
from broker.telemetry.records import Record
from broker.telemetry.settling import Settling
from broker.telemetry.tracing import Tracing


class Settled(list[str]):
    """Takes what is settled."""

    def __call__(self, names: list[str]) -> None:
        self.extend(names)


class Hop:
    def __init__(self, name: str, settled: list[str]) -> None:
        self.name, self.settled = name, settled

    def settle(self) -> None:
        if not self.name:
            raise ValueError("why")
        self.settled.append(self.name)


async def flush(sampled: list[Record], kept: list[Record], keeps: list[str]) -> None:
    pass


@pytest.fixture
def settled() -> Settled:
    return Settled()


@pytest.fixture
def settling(settled: Settled) -> Settling[str]:
    return Settling(settled)


def test_without_a_connection_an_event_is_settled_at_once(
    settling: Settling[str], settled: Settled
) -> None:
    settling.put("a")

    assert settled == ["a"]


def test_all_events_of_a_turn_are_settled_together(
    settling: Settling[str], settled: Settled
) -> None:
    asked: list[Callable[[], None]] = []
    settling.defer(asked.append)

    for name in ("a", "b", "c"):
        settling.put(name)

    assert (settled, len(asked)) == ([], 1)
    asked[0]()
    assert settled == ["a", "b", "c"]
    settling.put("d")
    assert len(asked) == 2


def test_whoever_wants_the_figures_now_has_them_settled_once(
    settling: Settling[str], settled: Settled
) -> None:
    asked: list[Callable[[], None]] = []
    settling.defer(asked.append)
    settling.put("a")

    settling.settle()
    asked[0]()

    assert settled == ["a"]


def test_at_the_end_all_that_wait_are_settled(settling: Settling[str], settled: Settled) -> None:
    settling.defer(lambda _: None)
    settling.put("a")

    settling.defer(None)
    settling.put("b")

    assert settled == ["a", "b"]


def test_one_that_cannot_be_counted_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    settled: list[str] = []
    ended = Ended(Tracing(flush))
    ended.defer(lambda _: None, None)

    for name in ("a", "", "b"):
        ended.others.put(Hop(name, settled))
    ended.settle()

    assert settled == ["a", "b"]
    assert "could not be counted" in caplog.text
