"""The number of pods follows the load, and no request fails meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from broker.dispatch.pod_load import ANSWER_S
from kubefox import records
from kubefox.distill import Version
from kubefox.rollout import RolloutState, begin
from kubefox.scaling import Scale, ScaleOverride
from pods.autoscaler import Windows
from pods.limits import PodLimits
from pods.local import POD_COMMAND, LocalDriver
from tests.pods.platform import APP, Platform
from tests.pods.visitor import EVENT_TTL_S, visiting

API = """\
import asyncio
from collections.abc import Mapping
from pathlib import Path

from fox import Context, Kit

kit = Kit()


@kit.route("Path(`/`)")
async def answer(ctx: Context) -> str:
    return "at once"


@kit.route("Path(`/slow`)")
async def wait(ctx: Context) -> str:
    while not Path(ctx.query["end"]).exists():
        await asyncio.sleep(0.02)
    return "at the end"
"""
# A pod without an answer, whose load is unknown, counts as one whose events wait (``ANSWER_S``).
WINDOWS = Windows(
    stable_s=0.5, panic_s=0.1, scale_down_delay_s=0.2, max_wait_s=ANSWER_S / 2, sample_s=0.02
)
LIMITS = PodLimits(event_ttl_s=EVENT_TTL_S, windows=WINDOWS)


async def test_pods_are_started_for_a_load_and_stopped_after_it(
    platform: Platform, tmp_path: Path
) -> None:
    end = tmp_path / "end"
    api = await platform.version(API, routes=("Path(`/`)", "Path(`/slow`)"))
    scale = Scale(min=1, max=3, target_in_flight=2)
    override = ScaleOverride(app=APP, component="api-server", scale=scale)
    await platform.store.create(records.scale_key(APP, "api-server"), override)
    await platform.deploy("v1", api)
    async with (
        platform.reconciling(limits=LIMITS, command=POD_COMMAND),
        visiting(platform) as visitor,
    ):
        await platform.wait_ready(api)
        slow = [asyncio.create_task(visitor.get("/slow", f"end={end}")) for _ in range(6)]
        await platform.wait_ready(api, api, api)

        end.touch()
        fewer = asyncio.create_task(platform.wait_ready(api))
        answers = []
        while not fewer.done():
            answers.append(await visitor.get())

        assert await asyncio.gather(*slow) == ["at the end"] * 6
        assert set(answers) == {"at once"}
    assert platform.gone == []


async def test_the_pods_of_an_earlier_process_are_kept_for_the_scale_down_delay(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await platform.version(API)
    override = ScaleOverride(app=APP, component="api-server", scale=Scale(min=1, max=9))
    await platform.store.create(records.scale_key(APP, "api-server"), override)
    await platform.deploy("v1", api)

    async def left_pods(_driver: LocalDriver) -> Mapping[Version, int]:
        return {api.version: 3}

    monkeypatch.setattr(LocalDriver, "left_pods", left_pods)
    windows = msgspec.structs.replace(WINDOWS, scale_down_delay_s=60)
    limits = msgspec.structs.replace(LIMITS, windows=windows, starts_at_once=1)
    async with platform.reconciling(limits=limits, command=POD_COMMAND, adopts_pods=True):
        await platform.wait_ready(api, api, api)


async def test_a_new_version_begins_with_the_pods_that_the_load_of_the_old_one_needs(
    platform: Platform, tmp_path: Path
) -> None:
    end = tmp_path / "end"
    api = await platform.version(API, routes=("Path(`/`)", "Path(`/slow`)"))
    new = await platform.version(API + "\n", routes=("Path(`/`)", "Path(`/slow`)"))
    scale = Scale(min=1, max=2, target_in_flight=2)
    override = ScaleOverride(app=APP, component="api-server", scale=scale)
    await platform.store.create(records.scale_key(APP, "api-server"), override)
    await platform.deploy("v1", api)
    windows = msgspec.structs.replace(WINDOWS, stable_s=60, scale_down_delay_s=60)
    limits = msgspec.structs.replace(LIMITS, windows=windows)
    async with (
        platform.reconciling(limits=limits, command=POD_COMMAND),
        visiting(platform) as visitor,
    ):
        await platform.wait_ready(api)
        slow = [asyncio.create_task(visitor.get("/slow", f"end={end}")) for _ in range(4)]
        await platform.wait_ready(api, api)

        old = platform.store.snapshot.deployments["v1"]
        content = msgspec.structs.replace(old, components={"api-server": new.hash})
        state = begin(RolloutState(deployment="v1"), old, content, now_s=0, deadline_s=60)
        await platform.store.create(records.rollout_key("v1"), state)

        await platform.wait_ready(api, api, new, new)
        end.touch()
        assert await asyncio.gather(*slow) == ["at the end"] * 4
