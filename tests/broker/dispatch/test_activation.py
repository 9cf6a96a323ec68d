"""An event without a pod: an idle version is woken, and the event is sent again."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from broker.dispatch.activation import TAKE_OVER_S, wake
from broker.nats.bus import Bus
from broker.nats.client import FastPathClient
from broker.nats.wake_requests import Wake, WakeReply, WakeRequest
from broker.streams.outgoing import OutgoingStream
from kubefox import subjects
from kubefox.errors import DeadlineExceeded
from kubefox.event import Event, EventType

TARGET = subjects.component("shop", "api", "a" * 32)
LONG_S = 60.0


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
    """Answer as a reconciler, with these states one after another; return the requested targets."""
    requests: list[str] = []
    left = list(states)

    async def answer(payload: bytes, reply: str) -> None:
        requests.append(msgspec.msgpack.decode(payload, type=WakeRequest).target)
        if left:
            await bus.publish(reply, msgspec.msgpack.encode(WakeReply(state=left.pop(0))))

    await bus.serve(subjects.WAKES, answer)
    return requests


async def test_without_a_reconciler_the_version_is_not_idle(bus: Bus) -> None:
    assert not await wake(bus, TARGET, event())


async def test_in_a_cluster_an_event_is_sent_again_within_the_hold_if_no_reconciler_answers(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FastPathClient, "is_clustered", True)

    # All pods and the reconciler may be cut off for some seconds, and back one after another.
    assert await wake(bus, TARGET, event(), hold_end_s=time.monotonic() + LONG_S)
    assert not await wake(bus, TARGET, event(), hold_end_s=time.monotonic())


async def test_a_version_that_is_not_idle_costs_one_request(bus: Bus) -> None:
    requests = await reconcile(bus, Wake.NOT_IDLE)

    assert not await wake(bus, TARGET, event())

    assert requests == [TARGET]


async def test_wake_returns_when_a_pod_is_ready(bus: Bus) -> None:
    requests = await reconcile(bus, Wake.WAKING, Wake.WAKING, Wake.AWAKE)

    assert await wake(bus, TARGET, event())

    assert requests == [TARGET] * 3


async def test_adapters_are_never_idle(bus: Bus) -> None:
    requests = await reconcile(bus, Wake.AWAKE)

    assert not await wake(bus, subjects.adapter("state-store"), event())

    assert requests == []


async def test_in_a_cluster_an_event_is_sent_to_an_adapter_again_within_the_hold(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FastPathClient, "is_clustered", True)
    requests, target = await reconcile(bus, Wake.AWAKE), subjects.adapter("state-store")

    # All processes of the adapter may be on their way from one server to another.
    assert await wake(bus, target, event(), hold_end_s=time.monotonic() + LONG_S)
    assert not await wake(bus, target, event(), hold_end_s=time.monotonic())

    assert requests == []


class HangingReconciler:
    """A bus to a reconciler that answers with these states, and then no more.

    No time passes: a slow machine would ask again though an answer is on its way.
    """

    is_clustered = False

    def __init__(self, *states: Wake) -> None:
        self.requests: list[str] = []
        self._left = list(states)

    async def wait_ready(self, _timeout_s: float) -> bool:
        return True

    async def request(
        self,
        _subject: str,
        payload: bytes,
        _timeout_s: float,
        _body: OutgoingStream | None = None,
    ) -> bytes:
        self.requests.append(msgspec.msgpack.decode(payload, type=WakeRequest).target)
        if not self._left:
            raise DeadlineExceeded("no answer")
        return msgspec.msgpack.encode(WakeReply(state=self._left.pop(0)))


async def test_a_reconciler_that_stops_answering_is_not_waited_for() -> None:
    bus = HangingReconciler(Wake.WAKING)

    assert not await wake(bus, TARGET, event())

    assert bus.requests == [TARGET] * 2


async def test_an_event_waits_in_its_hold_until_another_reconciler_leads(bus: Bus) -> None:
    waking = asyncio.create_task(wake(bus, TARGET, event(), hold_end_s=time.monotonic() + LONG_S))
    await asyncio.sleep(3 * TAKE_OVER_S)
    await reconcile(bus, Wake.AWAKE)

    assert await waking


async def test_an_event_asks_again_when_a_reconciler_died_with_its_question(bus: Bus) -> None:
    asked = asyncio.Event()

    async def die(_payload: bytes, _reply: str) -> None:
        asked.set()

    dying = await bus.serve(subjects.WAKES, die)
    waking = asyncio.create_task(
        wake(bus, TARGET, event(), hold_end_s=time.monotonic() + LONG_S, answer_timeout_s=1)
    )
    await asked.wait()
    await bus.stop_serving(dying)
    await reconcile(bus, Wake.AWAKE)

    assert await waking


async def test_a_reconciler_that_hangs_is_asked_twice_in_the_hold() -> None:
    bus, hold_end_s = HangingReconciler(), time.monotonic() + LONG_S

    assert not await wake(bus, TARGET, event(), hold_end_s=hold_end_s)

    assert bus.requests == [TARGET] * 2


async def test_an_unreadable_answer_counts_as_not_idle(bus: Bus) -> None:
    async def answer(_payload: bytes, reply: str) -> None:
        await bus.publish(reply, b"\xc1")

    await bus.serve(subjects.WAKES, answer)

    assert not await wake(bus, TARGET, event())


async def test_a_deadline_during_waking_names_the_version(bus: Bus) -> None:
    await reconcile(bus)

    with pytest.raises(DeadlineExceeded, match="api@aaaaaaaaaaaa was started") as caught:
        await wake(bus, TARGET, event(ttl_s=0.1))

    assert caught.value.hop == "api@aaaaaaaaaaaa"
