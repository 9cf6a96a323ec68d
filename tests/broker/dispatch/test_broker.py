"""The broker on a real NATS: events are sent to pods, and counted while in flight."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import msgspec
import pytest

from broker.dispatch.broker import INLINE_ANSWERS, Broker
from broker.dispatch.handling import Reply
from broker.dispatch.request import DispatchRequest
from broker.dispatch.usage import Usage
from broker.nats.bus import Bus
from broker.nats.wake_requests import Wake, WakeReply, WakeRequest
from kubefox import subjects
from kubefox.codec import Body
from kubefox.errors import DeadlineExceeded, Draining, NoPodReady, NotAuthorized
from kubefox.event import Event, ResponseHead
from kubefox.stream import INLINE_BYTES, LEAST_INLINE_BYTES
from routing.request import GenesisRequest
from routing.snapshot.route_binding import Target
from tests.broker.broker_requests import ask_usage, dispatch, serve
from tests.support.data_plane import DataPlane, digest


async def test_a_dispatched_event_has_all_fields_of_its_request(
    broker: Broker, target: Target, pod: Bus
) -> None:
    seen: list[tuple[Event, bytes]] = []

    async def handle(event: Event, body: Body) -> Reply:
        seen.append((event, bytes(body)))
        return Reply(201, (("x", "y"),), b"answer")

    before_ms = time.time() * 1000
    async with serve(pod, target, handle):
        head, body = await broker.dispatch(
            DispatchRequest(
                target=broker.dispatch_target(target),
                request=GenesisRequest(
                    method="POST",
                    path="/a%2Fb",
                    query="q=1",
                    headers=(("a", "1"), ("a", "2")),
                ),
                event_id="e-1",
                source="adapter/http",
                handler=0,
                params={"id": "7"},
                body=b"body",
                traceparent="00-trace",
            )
        )

    [(event, content)] = seen
    assert head == ResponseHead(status=201, headers=(("x", "y"),), source="web@1")
    assert body == b"answer"
    assert content == b"body"
    assert broker.store.keys.unseal(event.context) == target.context
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


async def test_dispatch_raises_the_failure_of_an_event(
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


async def test_a_draining_broker_refuses_new_events_and_finishes_those_in_flight(
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


async def test_usage_has_every_version_that_an_event_in_flight_may_need(
    broker: Broker, target: Target, pod: Bus
) -> None:
    async def record_usage(event: Event, body: Body) -> Reply:
        during.append(await ask_usage(pod))
        return Reply()

    during: list[Usage] = []
    async with serve(pod, target, record_usage):
        await dispatch(broker, target)

    keys = broker.store.keys
    assert during == [
        Usage(
            revision=broker.snapshot.revision,
            hashes=frozenset({digest("v1")}),
            keys=keys.known,
            keys_in_use=frozenset({keys.ring.sealing_key}),
        )
    ]
    while (after := await ask_usage(pod)).hashes:
        pass  # for a tick
    assert after == Usage(revision=broker.snapshot.revision, hashes=frozenset(), keys=keys.known)


async def test_usage_has_every_version_of_a_recently_used_deployment(
    broker: Broker, target: Target, pod: Bus
) -> None:
    async def answer(event: Event, body: Body) -> Reply:
        return Reply()

    assert (await ask_usage(pod, within_s=60)).hashes == frozenset()
    async with serve(pod, target, answer):
        await dispatch(broker, target)

    assert (await ask_usage(pod, within_s=60)).hashes == {digest("v1")}
    while (await ask_usage(pod, within_s=0)).hashes:
        pass  # for a tick


async def test_an_event_wakes_its_idle_component_and_is_sent_again(
    broker: Broker, target: Target, pod: Bus
) -> None:
    async def answer(event: Event, body: Body) -> Reply:
        return Reply(204)

    async with AsyncExitStack() as pods:

        async def start(payload: bytes, reply: str) -> None:
            request = msgspec.msgpack.decode(payload, type=WakeRequest)
            await pods.enter_async_context(serve(pod, target, answer))
            assert request.target == target.subject
            await pod.publish(reply, msgspec.msgpack.encode(WakeReply(state=Wake.AWAKE)))

        await pod.serve(subjects.WAKES, start)

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


async def test_the_frames_of_many_answers_at_once_are_small(
    broker: Broker, target: Target, pod: Bus
) -> None:
    sizes: list[int] = []
    all_sent = asyncio.Event()

    async def wait(event: Event, body: Body) -> Reply:
        sizes.append(event.inline_bytes)
        if len(sizes) == 1000:
            all_sent.set()
        await all_sent.wait()
        return Reply()

    async with serve(pod, target, wait):
        async with asyncio.TaskGroup() as group:
            for _ in range(1000):
                group.create_task(dispatch(broker, target))
        await dispatch(broker, target)

    # 0 stands for INLINE_BYTES.
    assert sizes[:INLINE_ANSWERS] == [0] * INLINE_ANSWERS
    assert sorted(sizes[INLINE_ANSWERS:1000], reverse=True) == sizes[INLINE_ANSWERS:1000]
    assert max(sizes) <= INLINE_BYTES
    assert sizes[999] == LEAST_INLINE_BYTES
    assert sizes[1000] == 0
