"""The broker between routing and a real NATS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import msgspec
import pytest

from broker import bus as buses
from broker.broker import Broker
from broker.bus import Bus
from broker.ids import new_id
from broker.receiver import Handle, Receiver, Reply, receive
from broker.usage import Usage
from broker.views import ViewReply, ViewRequest
from broker.waking import Wake, WakeReply, WakeRequest
from fox import Kit
from model import subjects
from model.codec import Body
from model.component import ComponentDefinition
from model.context import ComponentView, EventContext, seal, source_name, unseal
from model.errors import (
    ComponentMismatch,
    DeadlineExceeded,
    Draining,
    InvalidEvent,
    NoPodReady,
    NotAuthorized,
    NotDeclared,
)
from model.event import Event, EventType, Response
from routing.bindings import Target
from tests.support.data_plane import APP, DataPlane, digest, open_data_plane
from tests.support.nats import NatsServer

FOREVER_S = 60


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[DataPlane]:
    async with open_data_plane(own_nats_server.url) as plane:
        await plane.virtual_environment("team-a", colour="red")
        await plane.deploy("v1", {"web": web(), "api": Kit()})
        yield plane


@pytest.fixture
def broker(plane: DataPlane) -> Broker:
    return plane.broker


@pytest.fixture
def target(plane: DataPlane) -> Target:
    return plane.target("/", "v1", "team-a")


@pytest.fixture
async def pod(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="pod") as pod:
        yield pod


def web() -> ComponentDefinition:
    kit = Kit()
    kit.component("api")
    kit.state_store("orders")
    kit.env("colour")

    @kit.route("Path(`/`)")
    async def serve(ctx: object) -> None: ...

    return kit.definition("web")


def serve(pod: Bus, target: Target, handle: Handle) -> AbstractAsyncContextManager[Receiver]:
    return receive(pod, target.subject, subjects.PODS_QUEUE, handle, source="web@1")


async def dispatch(broker: Broker, target: Target, ttl_s: float | None = None) -> Response:
    head, _ = await broker.dispatch(
        broker.lane(target),
        event_id=new_id(),
        type=EventType.HTTP,
        source="adapter/http",
        ttl_s=ttl_s,
    )
    return head


async def ask_view(pod: Bus, token: str, component: str, version: str) -> ViewReply:
    request = msgspec.msgpack.encode(ViewRequest(token, component, digest(version)))
    answer = await pod.request(subjects.VIEW, request, FOREVER_S)
    return msgspec.msgpack.decode(answer, type=ViewReply)


async def ask_usage(pod: Bus, within_s: float | None = None) -> Usage:
    question = b"" if within_s is None else msgspec.msgpack.encode(within_s)
    answer = await pod.request(subjects.USAGE, question, FOREVER_S)
    return msgspec.msgpack.decode(answer, type=Usage)


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
    plane: DataPlane, broker: Broker, target: Target, pod: Bus
) -> None:
    tokens = []

    async def handle(event: Event, body: Body) -> Reply:
        tokens.append(event.context)
        return Reply()

    async with serve(pod, target, handle):
        await dispatch(broker, target)
        await dispatch(broker, plane.target("/", "v1", "team-a"))
        await plane.virtual_environment("team-a", colour="blue")
        await dispatch(broker, plane.target("/", "v1", "team-a"))

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
    plane: DataPlane, target: Target, pod: Bus
) -> None:
    await plane.virtual_environment("team-b", colour="blue")
    other = plane.target("/", "v1", "team-b")

    async def nested(event: Event, body: Body) -> Reply:
        if len(counts) == 0:
            counts.append(plane.broker.in_flight)
            await dispatch(plane.broker, other)
        counts.append(plane.broker.in_flight)
        return Reply()

    counts: list[int] = []
    async with serve(pod, target, nested):
        await dispatch(plane.broker, target)
        await dispatch(plane.broker, other)

    assert counts == [1, 2, 1, 1]
    assert plane.broker.in_flight == 0


async def test_a_pod_gets_the_view_of_its_own_version_only(
    broker: Broker, target: Target, pod: Bus
) -> None:
    token = seal(target.context, await broker.store.platform_key())

    granted = await ask_view(pod, token, "web", "v1")
    outside = await ask_view(pod, token, "web", "v2")
    forged = await ask_view(pod, "x" + token, "web", "v1")

    assert granted == ViewReply(
        view=ComponentView(
            app=APP,
            deployment="v1",
            virtual_environment="team-a",
            release="",
            vars={"colour": "red"},
            targets={
                "api": subjects.component(APP, "api", digest("v1")),
                "state-store": "adapter.state-store",
            },
            callers=frozenset(),
        )
    )
    assert [each.error and each.error.code for each in (outside, forged)] == [
        "component_mismatch",
        "invalid_event",
    ]
    assert [each.view for each in (outside, forged)] == [None, None]


@pytest.mark.parametrize(
    "garbage", [b"", b"\xc1", b"{}", msgspec.msgpack.encode([1, 2, 3]), b"\x91" * 100_000]
)
async def test_a_question_that_cannot_be_read_is_told_so(
    broker: Broker, pod: Bus, garbage: bytes
) -> None:
    answer = await pod.request(subjects.VIEW, garbage, FOREVER_S)

    reply = msgspec.msgpack.decode(answer, type=ViewReply)
    assert reply.error is not None
    assert reply.error.code == "invalid_event"


async def test_a_question_that_wants_no_answer_gets_none(
    broker: Broker, pod: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    for subject in (subjects.VIEW, subjects.USAGE):
        await pod.publish(subject, b"")
    await pod.flush()

    await pod.request(subjects.VIEW, b"", FOREVER_S)

    assert caplog.text == ""


async def test_an_adapter_serves_who_declares_it(broker: Broker, target: Target) -> None:
    event = event_of("web", "v1", seal(target.context, await broker.store.platform_key()))

    data = await broker.authorize(event, "state-store")

    assert data.context == target.context
    assert data.vars == {"colour": "red"}


@pytest.mark.parametrize(
    ("component", "version", "adapter", "error"),
    [
        ("web", "v2", "state-store", ComponentMismatch),
        ("other", "v1", "state-store", ComponentMismatch),
        ("api", "v1", "state-store", NotDeclared),
        ("web", "v1", "http", NotDeclared),
        ("web", "v1", "api", NotDeclared),
    ],
)
async def test_an_adapter_refuses_everybody_else(
    broker: Broker,
    target: Target,
    component: str,
    version: str,
    adapter: str,
    error: type[Exception],
) -> None:
    token = seal(target.context, await broker.store.platform_key())

    with pytest.raises(error):
        await broker.authorize(event_of(component, version, token), adapter)


async def test_an_adapter_refuses_a_context_of_somebody_else(broker: Broker) -> None:
    token = seal(EventContext(APP, "v1", "team-a"), b"another key")

    with pytest.raises(InvalidEvent):
        await broker.authorize(event_of("web", "v1", token), "state-store")


async def test_a_broker_that_closed_answers_no_more(own_nats_server: NatsServer, pod: Bus) -> None:
    async with open_data_plane(own_nats_server.url):
        assert (await ask_usage(pod)).hashes == frozenset()

    for subject in (subjects.USAGE, subjects.VIEW):
        with pytest.raises(NoPodReady):
            await pod.request(subject, b"", FOREVER_S)


def event_of(component: str, version: str, token: str) -> Event:
    return Event(
        id="1",
        genesis_id="1",
        type=EventType.COMPONENT,
        context=token,
        source=source_name(component, digest(version)),
        deadline_ms=0,
    )
