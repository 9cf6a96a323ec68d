"""The places of a receiver on a real nats-server: which events get one, and which are refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker.dispatch.event_queue import HOLD_S
from broker.dispatch.handling import Reply
from broker.dispatch.pod_load import PodLoad, fetch_load
from broker.dispatch.receiving import receive
from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.telemetry.figures import EventLabels
from broker.telemetry.metrics import Metrics
from kubefox import codec, subjects
from kubefox.context import EventContext, seal
from kubefox.errors import (
    Overloaded,
)
from kubefox.event import Event
from kubefox.refusal import Refusal
from tests.support.nats import NatsServer
from tests.support.receiving import FOREVER_S, event, request
from tests.support.senders import sent_by


@pytest.fixture
async def other(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="two") as other:
        yield other


async def test_components_that_call_in_a_circle_do_not_deadlock(bus: Bus, other: Bus) -> None:
    async def a(head: Event, body: codec.Body) -> Reply:
        if head.path == "/end":
            return Reply(body=b"a")
        return Reply(body=b"a" + await request(bus, "b", event()))

    async def b(head: Event, body: codec.Body) -> Reply:
        return Reply(body=b"b" + await request(other, "a", event(path="/end")))

    async with (
        receive(bus, "a", "q", a, source="a@1"),
        receive(other, "b", "q", b, source="b@1"),
    ):
        answers = await asyncio.gather(*(request(other, "a", event()) for _ in range(50)))

    assert answers == [b"aba"] * 50


async def test_events_over_the_limit_are_refused_as_overloaded(bus: Bus) -> None:
    started, released = asyncio.Semaphore(0), asyncio.Event()

    async def wait(head: Event, body: codec.Body) -> Reply:
        started.release()
        await released.wait()
        return Reply(body=b"done")

    async with receive(bus, "work", "q", wait, source="api@1", max_in_flight=2) as receiver:
        accepted = [asyncio.create_task(request(bus, "work", event())) for _ in range(2)]
        for _ in accepted:
            await started.acquire()

        with pytest.raises(Overloaded, match="2 events in flight") as caught:
            await request(bus, "work", event())

        assert caught.value.hop == "api@1"
        assert receiver.in_flight == 2
        released.set()
        assert await asyncio.gather(*accepted) == [b"done"] * 2
        assert await request(bus, "work", event()) == b"done"


async def test_events_that_were_prepared_together_begin_in_their_turn_or_are_refused(
    bus: Bus,
) -> None:
    begun, prepared = 0, asyncio.Event()

    async def compute(head: Event, body: codec.Body) -> Reply:
        nonlocal begun
        await receiver.prepare(prepared.wait())
        begun += 1
        end_s = time.perf_counter() + HOLD_S + 0.001
        while time.perf_counter() < end_s:
            pass
        return Reply()

    async with receive(bus, "work", "q", compute, source="api@1", max_wait_s=0.001) as receiver:
        requests = [asyncio.create_task(request(bus, "work", event())) for _ in range(5)]
        while receiver.in_flight + sum(request.done() for request in requests) < len(requests):
            await asyncio.sleep(0)
        prepared.set()
        answers = await asyncio.gather(*requests, return_exceptions=True)

    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert {error.refusal for error in refused} == {Refusal.TOO_LATE}
    assert begun == len(answers) - len(refused)


async def test_refused_events_are_counted_for_their_deployment_and_reason(bus: Bus) -> None:
    started, released = asyncio.Event(), asyncio.Event()
    token = seal(EventContext("shop", "shop-v1", "live"), "1f2e", b"key")
    head = msgspec.structs.replace(event(), context=token)
    metrics = Metrics()

    async def wait(head: Event, body: codec.Body) -> Reply:
        started.set()
        await released.wait()
        return Reply()

    async with receive(bus, "work", "q", wait, source="api@1", max_in_flight=1) as receiver:
        receiver.watch(metrics)
        accepted = asyncio.create_task(request(bus, "work", head))
        await started.wait()
        with pytest.raises(Overloaded) as caught:
            await request(bus, "work", head)
        released.set()
        await accepted

    (series,) = metrics.figures("p", "api").series
    assert caught.value.refusal is Refusal.QUEUE_FULL
    assert series.labels == EventLabels("api", "1", "shop", "shop-v1", "live")
    assert series.refused == {"queue_full": 1}


async def test_the_refusal_of_a_call_is_not_counted_for_the_caller(bus: Bus) -> None:
    metrics = Metrics()

    async def call(head: Event, body: codec.Body) -> Reply:
        raise Overloaded("it is full", hop="other@2", refusal=Refusal.QUEUE_FULL)

    async with receive(bus, "work", "q", call, source="api@1") as receiver:
        receiver.watch(metrics)
        with pytest.raises(Overloaded) as caught:
            await request(bus, "work", event())

    assert caught.value.refusal is Refusal.QUEUE_FULL
    assert metrics.figures("p", "api").series == ()


@pytest.mark.parametrize(("cancels", "headers"), [(True, None), (True, {"x": "y"}), (False, None)])
async def test_an_event_whose_sender_is_cancelled_gives_its_place_back(
    bus: Bus, other: Bus, *, cancels: bool, headers: dict[str, str] | None
) -> None:
    ended: dict[str, str] = {}
    started, released = asyncio.Semaphore(0), asyncio.Event()

    async def handle(head: Event, body: codec.Body) -> Reply:
        started.release()
        try:
            await released.wait()
        except asyncio.CancelledError as error:
            ended[head.id] = str(error)
            raise
        ended[head.id] = "done"
        return Reply(body=b"done")

    work = subjects.component("app", "api", "1")
    async with receive(
        bus,
        work,
        "q",
        handle,
        source="api@1",
        max_in_flight=1,
        pod="p",
        cancels=lambda _: cancels,
    ) as receiver:
        abandoned = asyncio.create_task(request(other, sent_by("test", work), event("1")))
        await started.acquire()
        abandoned.cancel()
        # nats-py writes a message with headers itself, after the sender is cancelled.
        await other.publish("elsewhere", b"", headers=headers)
        while receiver.in_flight:
            await asyncio.sleep(0.001)
        next_one = asyncio.create_task(request(other, sent_by("test", work), event("2")))
        await started.acquire()

        assert ended == ({"1": "client_gone"} if cancels else {})
        released.set()
        assert await next_one == b"done"

    assert ended["1"] == ("client_gone" if cancels else "done")


async def test_a_pod_tells_its_load(bus: Bus, other: Bus) -> None:
    may_end = asyncio.Event()

    async def handle(_: Event, __: codec.Body) -> Reply:
        await may_end.wait()
        return Reply()

    async with receive(other, "work", "q", handle, source="api@1", pod="api-1"):
        for _ in range(3):
            await bus.publish("work", codec.encode(event()))

        load = await fetch_load(bus, "api-1", timeout_s=FOREVER_S)

        may_end.set()
    assert load is not None
    assert load.in_flight == 3
    assert 0 <= load.waited_s < FOREVER_S
    assert await fetch_load(bus, "api-1") is None


async def test_a_pod_that_does_not_answer_in_time_is_busy(bus: Bus, other: Bus) -> None:
    async def hang(_payload: bytes, _reply: str) -> None: ...

    await other.serve(subjects.pod_load("api-1"), hang)
    await other.flush()

    assert await fetch_load(bus, "api-1", timeout_s=0.05) == PodLoad(0, 0.05)
