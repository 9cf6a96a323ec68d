"""What becomes of an event that found no pod."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker import bus as buses
from broker import waking
from broker.bus import Bus
from broker.waking import Wake, WakeReply, WakeRequest, wake
from model import subjects
from model.errors import DeadlineExceeded
from model.event import Event, EventType
from tests.support.nats import NatsServer

TARGET = subjects.component("shop", "api", "a" * 32)
LONG_S = 60.0


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="test") as bus:
        yield bus


def event(ttl_s: float = LONG_S) -> Event:
    return Event(
        id="1",
        genesis_id="1",
        type=EventType.HTTP,
        context="",
        source="adapter/http",
        deadline_ms=int((time.time() + ttl_s) * 1000),
    )


async def reconcile(bus: Bus, *states: Wake) -> list[str]:
    """Be a reconciler that answers so, one after another; return what it is asked for."""
    asked: list[str] = []
    left = list(states)

    async def answer(payload: bytes, reply: str) -> None:
        asked.append(msgspec.msgpack.decode(payload, type=WakeRequest).target)
        if left:
            await bus.publish(reply, msgspec.msgpack.encode(WakeReply(state=left.pop(0))))

    await bus.serve(subjects.PODS_WAKE, answer)
    return asked


async def test_where_nobody_lets_pods_sleep_it_fails_as_before(bus: Bus) -> None:
    assert not await wake(bus, TARGET, event())


async def test_what_does_not_sleep_fails_after_one_question(bus: Bus) -> None:
    asked = await reconcile(bus, Wake.NOT_ASLEEP)

    assert not await wake(bus, TARGET, event())

    assert asked == [TARGET]


async def test_it_is_sent_again_when_a_pod_is_ready(bus: Bus) -> None:
    asked = await reconcile(bus, Wake.WAKING, Wake.WAKING, Wake.AWAKE)

    assert await wake(bus, TARGET, event())

    assert asked == [TARGET] * 3


async def test_adapters_never_sleep(bus: Bus) -> None:
    asked = await reconcile(bus, Wake.AWAKE)

    assert not await wake(bus, subjects.adapter("state-store"), event())

    assert asked == []


async def test_a_reconciler_that_says_nothing_more_is_not_waited_for(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "_PATIENCE_S", 0.05)
    asked = await reconcile(bus, Wake.WAKING)

    assert not await wake(bus, TARGET, event())

    assert asked == [TARGET] * 2


async def test_an_answer_that_cannot_be_read_wakes_nobody(bus: Bus) -> None:
    async def answer(_payload: bytes, reply: str) -> None:
        await bus.publish(reply, b"\xc1")

    await bus.serve(subjects.PODS_WAKE, answer)

    assert not await wake(bus, TARGET, event())


async def test_when_its_time_runs_out_meanwhile_it_names_who_was_started(bus: Bus) -> None:
    await reconcile(bus)

    with pytest.raises(DeadlineExceeded, match="api@aaaaaaaaaaaa was started") as caught:
        await wake(bus, TARGET, event(ttl_s=0.1))

    assert caught.value.hop == "api@aaaaaaaaaaaa"
