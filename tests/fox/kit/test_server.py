"""Components on a real NATS, with a real broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from broker.nats.bus import Bus
from broker.nats.wake_requests import Wake, WakeReply
from fox import Context, Kit
from kubefox import codec, subjects
from kubefox.component import short
from kubefox.context import source_name
from kubefox.errors import (
    ComponentFailed,
    ComponentMismatch,
    DeadlineExceeded,
    FoxError,
    InvalidEvent,
    NoPodReady,
    NotDeclared,
    RouteNotFound,
    from_detail,
)
from kubefox.event import Event, EventType
from tests.support.data_plane import APP, DataPlane, digest, open_data_plane
from tests.support.nats import NatsServer
from tests.support.senders import sent_by

FOREVER_S = 60


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[DataPlane]:
    async with open_data_plane(own_nats_server.url) as plane:
        for name in ("team-a", "team-b"):
            await plane.virtual_environment(name, colour=f"colour of {name}")
        yield plane


def web() -> Kit:
    """Return a component that calls ``api`` and describes both."""
    kit = Kit()
    api = kit.component("api")
    kit.env("colour")

    @kit.route("Path(`/`)")
    async def show(ctx: Context) -> dict[str, Any]:
        answer = await api.get("/orders", ctx=ctx)
        return {
            "deployment": ctx.deployment,
            "colour": ctx.env["colour"],
            "components": [source_name(ctx.component, ctx.hash), answer.source],
            "api": answer.json(),
        }

    return kit


def api(answer: str = "") -> Kit:
    kit = Kit()

    @kit.default
    async def serve(ctx: Context) -> list[str]:
        return [answer, ctx.deployment, ctx.virtual_environment, ctx.source]

    return kit


async def send(bus: Bus, target: str, event: Event) -> None:
    """Send an event; raise the error in the answer."""
    subject = sent_by(event.source, target)
    frame = await bus.request(subject, codec.encode(event), FOREVER_S)
    response, _ = codec.decode_response(frame)
    if response.error is not None:
        raise from_detail(response.error)


async def token_of(plane: DataPlane, deployment: str = "v1") -> str:
    context = plane.target("/", deployment, "team-a").context
    return plane.broker.store.keys.seal(context)


def event_from(source: str, token: str, **fields: Any) -> Event:
    return Event(
        id="1",
        genesis_id="1",
        type=EventType.COMPONENT,
        context=token,
        source=source,
        deadline_ms=int((time.time() + FOREVER_S) * 1000),
        **fields,
    )


async def test_components_call_each_other_within_one_deployment(plane: DataPlane) -> None:
    await plane.deploy("v1", {"web": web(), "api": api()})
    await plane.start("web", web())
    await plane.start("api", api())

    response = await plane.get("/", "v1", "team-a")

    hops = [source_name("web", digest("v1")), source_name("api", digest("v1"))]
    assert response.source == hops[0]
    assert response.json() == {
        "deployment": "v1",
        "colour": "colour of team-a",
        "components": hops,
        "api": ["", "v1", "team-a", hops[0]],
    }


async def test_a_shared_pod_serves_each_deployment_with_its_own_versions(
    plane: DataPlane,
) -> None:
    shared = web()
    for name in ("v1", "v2"):
        await plane.deploy(name, {"api": api(name)}, name)
        deployment = await plane.deploy(name, {"web": shared}, "shared")
        components = {**deployment.components, "api": digest(name)}
        await plane.write(
            f"deployment.{name}", type(deployment)(name=name, app=APP, components=components)
        )
        await plane.start("api", api(name), name)
    await plane.start("web", shared, "shared")

    answers = await asyncio.gather(
        *(
            plane.get("/", deployment, virtual)
            for _ in range(25)
            for deployment in ("v1", "v2")
            for virtual in ("team-a", "team-b")
        )
    )

    expected = [
        [name, name, virtual, source_name("web", digest("shared"))]
        for _ in range(25)
        for name in ("v1", "v2")
        for virtual in ("team-a", "team-b")
    ]
    assert [answer.json()["api"] for answer in answers] == expected
    assert {answer.json()["components"][1] for answer in answers} == {
        source_name("api", digest("v1")),
        source_name("api", digest("v2")),
    }


async def test_the_next_event_sees_changed_variables(plane: DataPlane) -> None:
    await plane.deploy("v1", {"web": web(), "api": api()})
    await plane.start("web", web())
    await plane.start("api", api())
    before = await plane.get("/", "v1", "team-a")

    await plane.virtual_environment("team-a", colour="new")

    assert before.json()["colour"] == "colour of team-a"
    assert (await plane.get("/", "v1", "team-a")).json()["colour"] == "new"


async def test_components_may_call_each_other_in_a_circle(plane: DataPlane) -> None:
    first, second = Kit(), Kit()
    down, back = first.component("second"), second.component("first")

    @first.route("Path(`/`)")
    async def enter(ctx: Context) -> str:
        return "1" + (await down.get("/", ctx=ctx)).text

    @first.default
    async def end(ctx: Context) -> str:
        return "3"

    @second.default
    async def turn(ctx: Context) -> str:
        return "2" + (await back.get("/", ctx=ctx)).text

    await plane.deploy("v1", {"first": first, "second": second})
    await plane.start("first", first)
    await plane.start("second", second)

    answers = await asyncio.gather(*(plane.get("/", "v1", "team-a") for _ in range(50)))

    assert {answer.text for answer in answers} == {"123"}


async def test_a_call_of_an_undeclared_component_is_refused(
    plane: DataPlane,
) -> None:
    kit = Kit()
    undeclared = Kit().component("api")

    @kit.route("Path(`/`)")
    async def ask(ctx: Context) -> str:
        return (await undeclared.get("/", ctx=ctx)).text

    await plane.deploy("v1", {"web": kit, "api": api()})
    await plane.start("web", kit)
    await plane.start("api", api())

    with pytest.raises(NotDeclared, match="web does not declare api"):
        await plane.get("/", "v1", "team-a")


async def test_a_call_of_a_component_outside_the_deployment_is_refused(plane: DataPlane) -> None:
    await plane.deploy("v1", {"web": web()})
    await plane.start("web", web())

    with pytest.raises(NotDeclared, match="deployment v1 has no such component"):
        await plane.get("/", "v1", "team-a")


async def test_the_receiver_refuses_undeclared_and_forged_senders(plane: DataPlane) -> None:
    await plane.deploy("v1", {"web": web(), "api": api(), "other": Kit()})
    bus, _ = await plane.start("api", api())
    target, token = subjects.component(APP, "api", digest("v1")), await token_of(plane)
    refusals: list[tuple[str, str, type[FoxError]]] = [
        (source_name("other", digest("v1")), token, NotDeclared),
        (source_name("web", digest("v2")), token, NotDeclared),
        ("web", token, NotDeclared),
        (source_name("web", digest("v1")), token[:-3] + "AAA", InvalidEvent),
        (source_name("web", digest("v1")), "", InvalidEvent),
    ]

    for source, context, error in refusals:
        with pytest.raises(error):
            await send(bus, target, event_from(source, context))
    await send(bus, target, event_from(source_name("web", digest("v1")), token))


async def test_a_version_outside_the_deployment_refuses_the_event(plane: DataPlane) -> None:
    await plane.deploy("v1", {"web": web(), "api": api()})
    bus, _ = await plane.start("api", api(), "v2")
    target, token = subjects.component(APP, "api", digest("v2")), await token_of(plane)

    with pytest.raises(ComponentMismatch, match="not part of deployment v1"):
        await send(bus, target, event_from(source_name("web", digest("v1")), token))


async def test_an_event_for_a_missing_handler_is_refused(plane: DataPlane) -> None:
    await plane.deploy("v1", {"web": web(), "api": api()})
    bus, _ = await plane.start("api", api())
    target, token = subjects.component(APP, "api", digest("v1")), await token_of(plane)

    with pytest.raises(RouteNotFound):
        await send(bus, target, event_from("adapter/http", token, handler=7))


async def test_a_caller_can_catch_the_failure_of_its_call(plane: DataPlane) -> None:
    kit, failing = Kit(), Kit()
    below = kit.component("api")

    @kit.route("Path(`/`)")
    async def ask(ctx: Context) -> list[str]:
        try:
            await below.get("/", ctx=ctx)
        except ComponentFailed as error:
            return [error.code, error.hop]
        return []

    @failing.default
    async def fail(ctx: Context) -> None:
        raise ValueError("internal")

    await plane.deploy("v1", {"web": kit, "api": failing})
    await plane.start("web", kit)
    with pytest.raises(NoPodReady, match="api@"):
        await plane.get("/", "v1", "team-a")
    await plane.start("api", failing)

    answer = await plane.get("/", "v1", "team-a")

    assert answer.json() == ["component_failed", f"api@{short(digest('v1'))}"]


async def test_a_call_wakes_an_idle_component(plane: DataPlane) -> None:
    kit, answering = Kit(), Kit()
    below = kit.component("api")

    @kit.route("Path(`/`)")
    async def ask(ctx: Context) -> str:
        return (await below.get("/", ctx=ctx)).text

    @answering.default
    async def answer(ctx: Context) -> str:
        return "awake"

    async def start(_payload: bytes, reply: str) -> None:
        await plane.start("api", answering)
        state = msgspec.msgpack.encode(WakeReply(state=Wake.AWAKE))
        await plane.broker.bus.publish(reply, state)

    await plane.deploy("v1", {"web": kit, "api": answering})
    await plane.start("web", kit)
    await plane.broker.bus.serve(subjects.WAKES, start)

    assert (await plane.get("/", "v1", "team-a")).text == "awake"


async def test_a_call_is_cancelled_at_the_deadline_of_its_event(plane: DataPlane) -> None:
    kit, hanging = Kit(), Kit()
    below = kit.component("api")
    hangs, cancelled = asyncio.Event(), asyncio.Event()
    deadlines: list[int] = []

    @kit.route("Path(`/`)")
    async def ask(ctx: Context) -> None:
        deadlines.append(ctx.deadline_ms)
        await below.get("/", ctx=ctx)

    @hanging.default
    async def hang(ctx: Context) -> None:
        deadlines.append(ctx.deadline_ms)
        hangs.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await plane.deploy("v1", {"web": kit, "api": hanging})
    await plane.start("web", kit)
    _, receiver = await plane.start("api", hanging)

    asking = asyncio.create_task(plane.get("/", "v1", "team-a"))
    await hangs.wait()
    # The deadline comes once the handler runs, however long the event took to arrive.
    (key,) = receiver._handlings
    receiver._deadlines.set(key, 0)

    with pytest.raises(DeadlineExceeded, match="time ran out in api@"):
        await asking
    assert cancelled.is_set()
    assert deadlines[0] == deadlines[1]


async def test_a_call_after_the_deadline_fails_without_being_sent(
    plane: DataPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = Kit()
    below = kit.component("api")

    @kit.route("Path(`/`)")
    async def ask(ctx: Context) -> str:
        monkeypatch.setattr(Event, "remaining_s", lambda *_: 0.0)
        try:
            await below.get("/", ctx=ctx)
        except DeadlineExceeded as error:
            return error.detail
        return "answered"

    await plane.deploy("v1", {"web": kit, "api": api()})
    await plane.start("web", kit)

    answer = await plane.get("/", "v1", "team-a")

    assert answer.text == f"time ran out before api@{short(digest('v1'))} was called"


async def test_a_hundred_events_in_a_new_context_are_all_answered(plane: DataPlane) -> None:
    await plane.deploy("v1", {"web": web(), "api": api()})
    await plane.start("web", web())
    await plane.start("api", api())

    answers = await asyncio.gather(*(plane.get("/", "v1", "team-a") for _ in range(100)))

    assert {answer.status for answer in answers} == {200}
