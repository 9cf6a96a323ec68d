"""Several pods of one version: started, stopped when there are too many, kept when idle."""

from __future__ import annotations

import os
import signal

import msgspec

from kubefox import records
from kubefox.component import ComponentVersion
from kubefox.pod import PodPhase
from kubefox.scaling import Replicas, Scale, ScaleOverride
from pods.base import PodSpec
from pods.limits import PodLimits
from tests.pods import programs
from tests.pods.platform import APP, Platform

TWO = PodLimits(event_ttl_s=5, replicas=Replicas(min=2, max=2))


async def declare(platform: Platform, spec: PodSpec, scale: Scale) -> None:
    key = records.component_key(APP, spec.component, spec.hash)
    found = await platform.store.get(key)
    assert found is not None
    assert isinstance(found[0], ComponentVersion)
    definition = msgspec.structs.replace(found[0].definition, scale=scale)
    await platform.store.update(
        key, msgspec.structs.replace(found[0], definition=definition), found[1]
    )


async def test_each_version_has_the_platforms_number_of_pods(platform: Platform) -> None:
    api = await platform.version(programs.GOOD)
    async with platform.reconciling(limits=TWO):
        await platform.deploy("v1", api)

        await platform.wait_ready(api, api)


async def test_a_version_has_the_number_of_pods_that_its_code_declares(
    platform: Platform,
) -> None:
    api = await platform.version(programs.GOOD)
    web = await platform.version(programs.GOOD, "web")
    await declare(platform, api, Scale(min=3))
    async with platform.reconciling():
        await platform.deploy("v1", api, web)

        await platform.wait_ready(api, api, api, web)


async def test_an_override_starts_pods_and_its_removal_stops_them(platform: Platform) -> None:
    api = await platform.version(programs.GOOD)
    key = records.scale_key(APP, "api-server", "v1")
    override = ScaleOverride(app=APP, component="api-server", deployment="v1", scale=Scale(min=3))
    async with platform.reconciling():
        await platform.deploy("v1", api)
        await platform.wait_ready(api)
        revision = await platform.store.create(key, override)
        await platform.wait_ready(api, api, api)

        await platform.store.delete(key, revision)

        await platform.wait_ready(api)
    assert platform.gone == []


async def test_a_killed_replica_is_restarted_and_the_other_stays(platform: Platform) -> None:
    api = await platform.version(programs.GOOD)
    async with platform.reconciling(limits=TWO):
        await platform.deploy("v1", api)
        first, second = await platform.wait_ready(api, api)

        os.kill(first.pid or 0, signal.SIGKILL)
        await platform.wait_pods(lambda statuses: any(status.restarts for status in statuses))
        after = await platform.wait_ready(api, api)

    assert {status.id for status in after} == {first.id, second.id}
    assert second in after


async def test_pods_that_are_not_ready_are_stopped_first(platform: Platform) -> None:
    # The second and the third pod never become ready.
    once = "import pathlib, sys\np = pathlib.Path('../../first')\n"
    once += "not p.exists() or sys.stdin.read() or sys.exit()\np.touch()\n"
    api = await platform.version(once + programs.GOOD)
    key = records.scale_key(APP, "api-server")
    override = ScaleOverride(app=APP, component="api-server", scale=Scale(min=3))
    async with platform.reconciling(limits=PodLimits(event_ttl_s=5, starts_at_once=1)):
        await platform.deploy("v1", api)
        (ready,) = await platform.wait_ready(api)
        revision = await platform.store.create(key, override)
        await platform.wait_pods(lambda statuses: len(statuses) == 3)

        await platform.store.delete(key, revision)

        await platform.wait_pods(lambda statuses: len(statuses) == 1)
        assert platform.board.statuses == (ready,)
        assert ready.phase is PodPhase.READY


async def test_a_version_with_a_minimum_is_never_idle(platform: Platform) -> None:
    api = await platform.version(programs.GOOD)
    web = await platform.version(programs.GOOD, "web")
    await declare(platform, api, Scale(min=1))

    async def nothing_is_used(*_: object) -> frozenset[str]:
        return frozenset()

    limits = PodLimits(event_ttl_s=5, idle_s=0.1, min_check_s=0.05)
    async with platform.reconciling(limits=limits, find_used=nothing_is_used) as reconciler:
        await platform.deploy("v1", api, web)
        await platform.wait_pods(lambda _: bool(platform.board.idle_versions))

        assert [idle.component for idle in platform.board.idle_versions] == ["web"]
        assert reconciler.counts.stops == 1
        await platform.wait_ready(api)


async def test_an_idle_version_starts_when_it_gets_a_minimum(platform: Platform) -> None:
    api = await platform.version(programs.GOOD)
    key = records.scale_key(APP, "api-server")

    async def nothing_is_used(*_: object) -> frozenset[str]:
        return frozenset()

    limits = PodLimits(event_ttl_s=5, idle_s=0.1, min_check_s=0.05)
    async with platform.reconciling(limits=limits, find_used=nothing_is_used):
        await platform.deploy("v1", api)
        await platform.wait_pods(
            lambda statuses: not statuses and bool(platform.board.idle_versions)
        )

        override = ScaleOverride(app=APP, component="api-server", scale=Scale(min=2))
        await platform.store.create(key, override)

        await platform.wait_ready(api, api)
        await platform.wait_pods(lambda _: not platform.board.idle_versions)
