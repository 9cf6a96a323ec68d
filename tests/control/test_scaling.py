"""Overrides of limits of replicas: written by compare-and-set, and shown with the pods."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from kubefox.errors import DeploymentNotFound, InvalidRequest, NotFound
from kubefox.pod import PodPhase
from kubefox.records import scale_key
from kubefox.scaling import Replicas, Scale, ScaleChange, ScaleOverride, VersionScale
from tests.support.control_plane import APP, Plane, component, listed, open_plane, pods_of
from tests.support.nats import NatsServer

API = component("api-server")
CHANGED_API = component("api-server", "v2")
OTHER = component("api-server", app="other")


def change(
    *,
    low: int | None = None,
    high: int | None = None,
    target: float | None = None,
    name: str = "",
    reset: bool = False,
) -> ScaleChange:
    scale = Scale(min=low, max=high, target_in_flight=target)
    return ScaleChange(component="api-server", deployment=name, scale=scale, reset=reset)


async def only(plane: Plane) -> VersionScale:
    (row,) = await listed(plane.control.lists.scales, VersionScale)
    return row


def shown_deployments(row: VersionScale) -> list[str]:
    return [override.deployment for override in row.overrides]


async def test_a_version_is_shown_with_its_limits_and_pods(plane: Plane) -> None:
    await plane.deploy("v1", API)
    ready, starting = pods_of(API)[0], pods_of(API)[0]
    starting = msgspec.structs.replace(starting, id="second", phase=PodPhase.STARTING)
    await plane.publish(ready, starting)

    assert await only(plane) == VersionScale(
        app=APP,
        component="api-server",
        hash=API.hash,
        limits=Replicas(),
        declared=None,
        overrides=(),
        pods=2,
        ready=1,
        is_idle=False,
    )


async def test_a_declared_concurrency_is_shown(plane: Plane) -> None:
    definition = msgspec.structs.replace(API.definition, concurrency=30)
    version = msgspec.structs.replace(API, definition=definition)

    await plane.deploy("v1", version)

    assert (await only(plane)).concurrency == 30


async def test_declared_limits_are_shown(plane: Plane) -> None:
    definition = msgspec.structs.replace(
        API.definition, memory_mib=256, open_files=512, processes=128
    )
    version = msgspec.structs.replace(API, definition=definition)

    await plane.deploy("v1", version)

    shown = await only(plane)
    assert (shown.memory_mib, shown.open_files, shown.processes) == (256, 512, 128)


async def test_a_concurrency_out_of_range_is_refused(plane: Plane) -> None:
    definition = msgspec.structs.replace(API.definition, concurrency=0)

    with pytest.raises(InvalidRequest, match="api-server is not valid: concurrency is 0"):
        await plane.deploy("v1", msgspec.structs.replace(API, definition=definition))


async def test_an_override_keeps_the_limits_that_a_change_does_not_name(plane: Plane) -> None:
    await plane.deploy("v1", API)

    await plane.control.scaling.change(change(low=2, high=4))
    override = await plane.control.scaling.change(change(target=5))

    assert override == ScaleOverride(
        app=APP,
        component="api-server",
        scale=Scale(min=2, max=4, target_in_flight=5),
    )
    assert (await only(plane)).limits == Replicas(min=2, max=4, target_in_flight=5)
    assert (await only(plane)).overrides == (override,)


async def test_a_deployment_has_an_override_of_its_own(plane: Plane) -> None:
    await plane.deploy("v1", API)
    await plane.control.scaling.change(change(low=2))

    await plane.control.scaling.change(change(low=3, name="v1"))

    assert (await only(plane)).limits.min == 3
    assert shown_deployments(await only(plane)) == ["", "v1"]


async def test_an_override_for_a_deployment_is_shown_with_the_versions_that_it_uses(
    plane: Plane,
) -> None:
    await plane.deploy("v1", API)
    await plane.deploy("v2", CHANGED_API)
    await plane.control.scaling.change(change(low=1))
    await plane.control.scaling.change(change(low=2, name="v1"))

    shown = {
        row.hash: shown_deployments(row)
        for row in await listed(plane.control.lists.scales, VersionScale)
    }
    assert shown == {API.hash: ["", "v1"], CHANGED_API.hash: [""]}

    await plane.control.deployments.undeploy("v1")

    assert shown_deployments(await only(plane)) == ["", "v1"]


async def test_a_reset_removes_an_override_or_replaces_it(plane: Plane) -> None:
    await plane.deploy("v1", API)
    await plane.control.scaling.change(change(low=2, high=4))

    replaced = await plane.control.scaling.change(change(high=3, reset=True))
    assert replaced is not None
    assert replaced.scale == Scale(max=3)

    assert await plane.control.scaling.change(change(reset=True)) is None
    assert await plane.control.scaling.change(change(reset=True)) is None
    assert (await only(plane)).limits == Replicas()
    assert plane.store.snapshot.revision_of(scale_key(APP, "api-server")) == 0


async def test_changes_of_two_processes_at_once_are_both_kept(
    plane: Plane, own_nats_server: NatsServer
) -> None:
    await plane.deploy("v1", API)
    async with open_plane(own_nats_server.url, "second") as second:
        await asyncio.gather(
            plane.control.scaling.change(change(low=2, high=2)),
            second.control.scaling.change(change(target=7)),
        )

        found = await plane.store.get(scale_key(APP, "api-server"))

    assert found is not None
    assert isinstance(found[0], ScaleOverride)
    assert found[0].scale == Scale(min=2, max=2, target_in_flight=7)


async def test_impossible_limits_are_refused(plane: Plane) -> None:
    await plane.deploy("v1", API)
    await plane.control.scaling.change(change(high=2))

    with pytest.raises(InvalidRequest, match="max is 0"):
        await plane.control.scaling.change(change(high=0))
    with pytest.raises(InvalidRequest, match="with its present override"):
        await plane.control.scaling.change(change(low=3))


async def test_a_name_that_does_not_exist_is_refused(plane: Plane) -> None:
    await plane.deploy("v1", API)

    with pytest.raises(DeploymentNotFound, match="deployment v2 does not exist"):
        await plane.control.scaling.change(change(low=1, name="v2"))
    with pytest.raises(NotFound, match="no deployment has a component web"):
        await plane.control.scaling.change(ScaleChange(component="web", scale=Scale(min=1)))
    with pytest.raises(NotFound, match="deployment v1 has no component web"):
        await plane.control.scaling.change(
            ScaleChange(component="web", deployment="v1", scale=Scale(min=1))
        )


async def test_a_component_of_several_apps_needs_a_deployment(plane: Plane) -> None:
    await plane.deploy("v1", API)
    await plane.deploy("other-v1", OTHER)

    with pytest.raises(InvalidRequest, match="in the apps order-app, other: name a deployment"):
        await plane.control.scaling.change(change(low=1))
    override = await plane.control.scaling.change(change(low=1, name="other-v1"))

    assert override is not None
    assert override.app == "other"


async def test_a_deployment_whose_code_declares_impossible_limits_is_refused(plane: Plane) -> None:
    definition = msgspec.structs.replace(API.definition, scale=Scale(min=2, max=1))

    with pytest.raises(InvalidRequest, match="scale of component api-server is not valid"):
        await plane.deploy("v1", msgspec.structs.replace(API, definition=definition))
