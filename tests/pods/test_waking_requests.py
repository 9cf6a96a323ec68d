"""Requests to idle versions: each activates the versions that it needs, and none fails."""

from __future__ import annotations

import asyncio

from pods.base import PodSpec
from pods.limits import PodLimits
from pods.local import POD_COMMAND
from tests.pods import programs
from tests.pods.platform import Platform
from tests.pods.processes import wait_until
from tests.pods.visitor import EVENT_TTL_S, visiting
from tests.support.nats import NatsServer

LIMITS = PodLimits(event_ttl_s=EVENT_TTL_S, idle_s=0.2, min_check_s=0.05)

API = """\
from fox import Context, Kit

kit = Kit()


@kit.default
async def answer(ctx: Context) -> str:
    return "api"
"""
UI = """\
import asyncio
from pathlib import Path

from fox import Context, Kit
from tests.support.keys import KEYS

kit = Kit()
api = kit.component("api-server")


@kit.route("Path(`/`)")
async def ask(ctx: Context) -> str:
    return "ui " + (await api.get("/", ctx=ctx)).text


@kit.route("Path(`/slow`)")
async def wait(ctx: Context) -> str:
    signals = Path(ctx.query["signals"])
    (signals / "begun").touch()
    while not (signals / "end").exists():
        await asyncio.sleep(0.02)
    return "ui " + (await api.get("/", ctx=ctx)).text
"""


async def ui_and_api(platform: Platform) -> tuple[PodSpec, PodSpec]:
    ui = await platform.version(
        UI, "order-ui", calls=("api-server",), routes=("Path(`/`)", "Path(`/slow`)")
    )
    api = await platform.version(API)
    await platform.deploy("v1", ui, api)
    return ui, api


async def test_a_request_activates_the_versions_that_it_needs(platform: Platform) -> None:
    ui, api = await ui_and_api(platform)
    async with (
        platform.reconciling(command=POD_COMMAND, limits=LIMITS) as reconciler,
        visiting(platform) as visitor,
    ):
        await platform.wait_idle(ui, api)

        answers = await asyncio.gather(*(visitor.get() for _ in range(20)))

        assert set(answers) == {"ui api"}
        assert reconciler.counts.activations == 2


async def test_an_idle_version_is_activated_after_a_restart_of_nats(
    platform: Platform, own_nats_server: NatsServer
) -> None:
    ui, api = await ui_and_api(platform)
    async with (
        platform.reconciling(command=POD_COMMAND, limits=LIMITS),
        visiting(platform) as visitor,
    ):
        await platform.wait_idle(ui, api)

        await asyncio.to_thread(own_nats_server.restart)
        await wait_until(lambda: visitor.broker.is_ready and platform.bus.is_ready)

        assert await visitor.get() == "ui api"


async def test_versions_of_a_request_in_flight_are_not_idle(platform: Platform) -> None:
    ui, api = await ui_and_api(platform)
    async with (
        platform.reconciling(command=POD_COMMAND, limits=LIMITS) as reconciler,
        visiting(platform) as visitor,
        asyncio.TaskGroup() as group,
    ):
        await platform.wait_idle(ui, api)
        signals = platform.folder
        slow = group.create_task(visitor.get("/slow", f"signals={signals}"))
        await wait_until((signals / "begun").exists)
        other = await platform.version(programs.GOOD, "order-worker")
        await platform.deploy("v2", other)

        # Neither the ui nor the api, which it has not called yet: the other was ready later.
        await platform.wait_idle(other)
        (signals / "end").touch()

        assert await slow == "ui api"
        assert reconciler.counts.stops == 3


async def test_no_request_fails_when_versions_are_stopped_under_load(
    platform: Platform,
) -> None:
    async def find_nothing(_bus: object, _within_s: float) -> frozenset[str]:
        return frozenset()

    # Usage is reported as none, so each stop races with requests.
    await ui_and_api(platform)
    async with (
        platform.reconciling(
            command=POD_COMMAND, limits=LIMITS, find_used=find_nothing
        ) as reconciler,
        visiting(platform) as visitor,
    ):
        # Each was ready once, perhaps never both at the same time.
        await platform.wait_pods(lambda statuses: reconciler.counts.stops == 2)
        answers: list[str] = []

        async def visit() -> None:
            while reconciler.counts.stops < 10:
                answers.append(await visitor.get())

        await asyncio.gather(*(visit() for _ in range(16)))

        assert set(answers) == {"ui api"}
        assert reconciler.counts.activations >= 6
