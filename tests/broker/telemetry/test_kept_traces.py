"""A kept trace costs only the processes that took part in it, however many run."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from adapters.events.adapter import EventsAdapter
from adapters.http.server import HttpAdapter
from fox import Context, Kit
from kubefox import subjects
from tests.adapters.events.world import EMIT
from tests.broker.telemetry.world import TelemetryWorld, named, open_telemetry_world, tree
from tests.support.nats import NatsServer


def leaf() -> Kit:
    """Return a component that only answers, and fails on one path."""
    kit = Kit()

    @kit.default
    async def serve(ctx: Context) -> str:
        if ctx.path == "/fails":
            raise ValueError("why")
        return "ok"

    return kit


def front() -> Kit:
    """Return a component that calls ``middle``; the path says which of its callees fails."""
    kit = Kit()
    middle = kit.component("middle")

    @kit.route("Path(`/{what}`)")
    async def serve(ctx: Context) -> str:
        await middle.get(f"/{ctx.segments[-1]}", ctx=ctx)
        return "all is well"

    return kit


def middle() -> Kit:
    """Return a component that calls ``leaf`` and succeeds in any case."""
    kit = Kit()
    leaf = kit.component("leaf")

    @kit.default
    async def serve(ctx: Context) -> str:
        with contextlib.suppress(Exception):
            await leaf.get(ctx.path, ctx=ctx)
        return "ok"

    return kit


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[TelemetryWorld]:
    async with open_telemetry_world(own_nats_server.url, trace_ratio=0.0) as world:
        yield world


async def deploy_chain(world: TelemetryWorld) -> None:
    kits = {"front": front(), "middle": middle(), "leaf": leaf()}
    await world.plane.deploy("v1", kits)
    for name, kit in kits.items():
        await world.plane.start(name, kit, reports_telemetry=True)


@contextlib.asynccontextmanager
async def received(world: TelemetryWorld) -> AsyncIterator[list[str]]:
    """Collect the subjects of all notices that a trace is kept; each is that of one process."""
    seen: list[str] = []

    async def add(message: object) -> None:
        seen.append(message.subject)  # type: ignore[attr-defined]

    client = world.plane.broker.bus._client
    await client.subscribe("telemetry.keep.*", cb=add)
    yield seen
    await world.plane.broker.bus.flush()


@pytest.mark.parametrize("others", [0, 50])
async def test_a_slow_trace_is_told_to_each_pod_that_took_part_and_to_no_other(
    world: TelemetryWorld, others: int
) -> None:
    await deploy_chain(world)
    for number in range(others):
        # Half of them are replicas of a component that takes part.
        name, text = ("leaf", "v1") if number % 2 else ("other", f"text {number}")
        await world.plane.start(name, leaf(), text, reports_telemetry=True, replica=number + 2)

    async with received(world) as notices:
        # The first event of a deployment is its slowest.
        trace_id, _ = await world.get("/fine", "v1")
        trace = await world.trace(trace_id, spans=8)

    assert len(trace.spans) == 8
    assert named(trace, "process leaf").parent_id == named(trace, "send leaf").span_id
    assert len(notices) == len(set(notices)) == 3
    assert subjects.keep_trace(world.plane.broker.telemetry.process) not in notices


async def test_the_http_adapter_tells_the_pod_that_answered(world: TelemetryWorld) -> None:
    await deploy_chain(world)
    async with (
        HttpAdapter(world.plane.broker, world.world.settings) as adapter,
        aiohttp.ClientSession() as client,
        client.get(f"{adapter.url}/fine?kf-dep=v1&kf-ve=live") as answer,
    ):
        trace = await world.trace(answer.headers["kubefox-trace-id"], spans=8)

    assert len(trace.spans) == 8


async def test_a_failure_that_is_caught_on_the_way_is_told_up_to_the_adapter(
    world: TelemetryWorld,
) -> None:
    await deploy_chain(world)
    first, _ = await world.get("/fine", "v1")
    await world.trace(first, spans=8)

    async with received(world) as notices:
        trace_id, status = await world.get("/fails", "v1")
        trace = await world.trace(trace_id, spans=8)

    assert status == 200
    assert tree(trace) == {
        "GET": "",
        "resolve": "GET",
        "send front": "GET",
        "process front": "send front",
        "send middle": "process front",
        "process middle": "send middle",
        "send leaf": "process middle",
        "process leaf": "send leaf",
    }
    assert named(trace, "process leaf").status == 500
    # Each process is told once at most by each of its neighbours.
    assert len(notices) <= 6


def emitting() -> Kit:
    kit = Kit()
    mail = kit.component("mail")

    @kit.route("Path(`/{what}`)")
    async def order(ctx: Context) -> None:
        await mail.emit(f"/{ctx.segments[-1]}", ctx=ctx)

    return kit


def mail() -> Kit:
    """Return a component that fails at the first attempt of some events."""
    kit = Kit()

    @kit.default
    async def send(ctx: Context) -> None:
        if ctx.attempt == 1 and ctx.path == "/fails":
            raise ValueError("no paper")

    return kit


@pytest.fixture
async def emitting_world(world: TelemetryWorld) -> AsyncIterator[TelemetryWorld]:
    kits = {"shop": emitting(), "mail": mail()}
    await world.plane.deploy("v1", kits)
    for name, kit in kits.items():
        await world.plane.start(name, kit, reports_telemetry=True)
    async with EventsAdapter(world.plane.broker, EMIT):
        yield world


async def test_an_emitted_event_that_fails_has_the_trace_of_its_emitter(
    emitting_world: TelemetryWorld,
) -> None:
    world = emitting_world
    first, _ = await world.get("/fine", "v1")
    await world.trace(first, spans=7)

    trace_id, _ = await world.get("/fails", "v1")

    trace = await world.trace(trace_id, spans=9)
    assert tree(trace) == {
        "GET": "",
        "resolve": "GET",
        "send shop": "GET",
        "process shop": "send shop",
        "emit mail": "process shop",
        "deliver mail": "emit mail",
        "process mail": "deliver mail",
    }


async def test_a_slow_trace_has_the_events_that_were_emitted_in_it(
    emitting_world: TelemetryWorld,
) -> None:
    # The first event of a deployment is its slowest.
    trace_id, _ = await emitting_world.get("/fine", "v1")

    trace = await emitting_world.trace(trace_id, spans=7)

    assert {"emit mail", "deliver mail", "process mail"} <= {span.name for span in trace.spans}
