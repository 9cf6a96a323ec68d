"""The broker between routing and a real NATS: events go to pods, and are known while in flight."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import msgspec
import pytest

from broker.broker import Broker
from broker.bus import Bus
from broker.lane import TICK_NS
from broker.receiver import Reply
from broker.usage import Usage
from broker.waking import Wake, WakeReply, WakeRequest
from model import subjects
from model.codec import Body
from model.context import unseal
from model.errors import DeadlineExceeded, Draining, NoPodReady, NotAuthorized
from model.event import Event, EventType, Response
from routing.bindings import Target
from tests.broker.asking import ask_usage, dispatch, serve
from tests.support.data_plane import DataPlane, digest


async def test_a_genesis_event_carries_all_that_the_adapter_gave(
    broker: Broker, target: Target, pod: Bus
) -> None:
    seen: list[tuple[Event, bytes]] = []

    async def handle(event: Event, body: Body) -> Reply:
        seen.append((event, bytes(body)))
        return Reply(201, (("x", "y"),), b"answer")

    before_ms = time.time() * 1000
    async with serve(pod, target, handle):
        head, body = await broker.dispatch(
            broker.lane(target),
            event_id="e-1",
            type=EventType.HTTP,
            source="adapter/http",
            handler=0,
            method="POST",
            path="/a%2Fb",
            query="q=1",
            headers=(("a", "1"), ("a", "2")),
            params={"id": "7"},
            body=b"body",
            traceparent="00-trace",
        )

    [(event, content)] = seen
    assert head == Response(status=201, headers=(("x", "y"),), source="web@1")
    assert body == b"answer"
    assert content == b"body"
    assert unseal(event.context, await broker.store.platform_key()) == target.context
    assert before_ms + 19_000 < event.deadline_ms < before_ms + 60_000
    assert msgspec.structs.replace(event, context="", deadline_ms=0, sent_us=0) == Event(
        id="e-1",
        genesis_id="e-1",
        type="http",
        context="",
        source="adapter/http",
        deadline_ms=0,
        handler=0,
        method="POST",
        path="/a%2Fb",
        query="q=1",
        headers=(("a", "1"), ("a", "2")),
        params={"id": "7"},
        traceparent="00-trace",
    )


async def test_events_of_one_context_share_its_token(
    data_plane: DataPlane, broker: Broker, target: Target, pod: Bus
) -> None:
    tokens = []

    async def handle(event: Event, body: Body) -> Reply:
        tokens.append(event.context)
        return Reply()

    async with serve(pod, target, handle):
        await dispatch(broker, target)
        await dispatch(broker, data_plane.target("/", "v1", "team-a"))
        await data_plane.virtual_environment("team-a", colour="blue")
        await dispatch(broker, data_plane.target("/", "v1", "team-a"))

    first, second, changed = tokens
    assert first == second != changed


async def test_whatever_stopped_an_event_is_raised(
    broker: Broker, target: Target, pod: Bus
) -> None:
    async def refuse(event: Event, body: Body) -> Reply:
        raise NotAuthorized("not you")

    async def hang(event: Event, body: Body) -> Reply:
        await asyncio.Event().wait()
        return Reply()

    with pytest.raises(NoPodReady):
        await dispatch(broker, target)
    async with serve(pod, target, refuse):
        with pytest.raises(NotAuthorized, match="not you"):
            await dispatch(broker, target)
    async with serve(pod, target, hang):
        with pytest.raises(DeadlineExceeded):
            await dispatch(broker, target, ttl_s=0.05)
    assert broker.in_flight == 0


async def test_a_draining_broker_takes_nothing_new_and_finishes_what_it_has(
    broker: Broker, target: Target, pod: Bus
) -> None:
    started, released = asyncio.Event(), asyncio.Event()

    async def wait(event: Event, body: Body) -> Reply:
        started.set()
        await released.wait()
        return Reply(204)

    async with serve(pod, target, wait):
        in_hand = asyncio.create_task(dispatch(broker, target))
        await started.wait()
        before = (broker.is_ready, broker.in_flight)

        broker.drain()

        assert before == (True, 1)
        assert (broker.is_ready, broker.in_flight) == (False, 1)
        with pytest.raises(Draining):
            await dispatch(broker, target)
        released.set()
        assert (await in_hand).status == 204
    assert broker.in_flight == 0


async def test_usage_names_every_version_that_an_event_in_flight_may_need(
    broker: Broker, target: Target, pod: Bus
) -> None:
    async def tell(event: Event, body: Body) -> Reply:
        during.append(await ask_usage(pod))
        return Reply()

    during: list[Usage] = []
    async with serve(pod, target, tell):
        await dispatch(broker, target)

    assert during == [Usage(revision=broker.snapshot.revision, hashes=frozenset({digest("v1")}))]
    await asyncio.sleep(TICK_NS / 1e9)
    assert await ask_usage(pod) == Usage(revision=broker.snapshot.revision, hashes=frozenset())


async def test_usage_names_every_version_of_a_deployment_that_was_used_lately(
    broker: Broker, target: Target, pod: Bus
) -> None:
    async def answer(event: Event, body: Body) -> Reply:
        return Reply()

    assert (await ask_usage(pod, within_s=60)).hashes == frozenset()
    async with serve(pod, target, answer):
        await dispatch(broker, target)

    assert (await ask_usage(pod, within_s=60)).hashes == {digest("v1")}
    await asyncio.sleep(TICK_NS / 1e9)
    assert (await ask_usage(pod, within_s=0)).hashes == frozenset()


async def test_an_event_whose_component_sleeps_wakes_it_and_is_sent_again(
    broker: Broker, target: Target, pod: Bus
) -> None:
    async def answer(event: Event, body: Body) -> Reply:
        return Reply(204)

    async with AsyncExitStack() as pods:

        async def start(payload: bytes, reply: str) -> None:
            asked = msgspec.msgpack.decode(payload, type=WakeRequest)
            await pods.enter_async_context(serve(pod, target, answer))
            assert asked.target == target.subject
            await pod.publish(reply, msgspec.msgpack.encode(WakeReply(state=Wake.AWAKE)))

        await pod.serve(subjects.PODS_WAKE, start)

        assert (await dispatch(broker, target)).status == 204


async def test_events_in_flight_are_counted_in_all_contexts(
    data_plane: DataPlane, target: Target, pod: Bus
) -> None:
    await data_plane.virtual_environment("team-b", colour="blue")
    other = data_plane.target("/", "v1", "team-b")

    async def nested(event: Event, body: Body) -> Reply:
        if len(counts) == 0:
            counts.append(data_plane.broker.in_flight)
            await dispatch(data_plane.broker, other)
        counts.append(data_plane.broker.in_flight)
        return Reply()

    counts: list[int] = []
    async with serve(pod, target, nested):
        await dispatch(data_plane.broker, target)
        await dispatch(data_plane.broker, other)

    assert counts == [1, 2, 1, 1]
    assert data_plane.broker.in_flight == 0
