"""Two control processes on one NATS make the same decisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest

from kubefox.environment import Environment, PolicyType, VirtualEnvironment
from kubefox.errors import FoxError
from tests.control.releasing import API, UI, deploy_apps
from tests.support.control_plane import Plane, open_plane
from tests.support.nats import NatsServer

TIMES = 10


@pytest.fixture
async def other(own_nats_server: NatsServer, plane: Plane) -> AsyncIterator[Plane]:
    async with open_plane(own_nats_server.url, "control-2") as other:
        yield other


async def both(one: Awaitable[object], two: Awaitable[object]) -> list[bool]:
    """Run two operations at the same time, and return which of them succeeded."""
    results = await asyncio.gather(one, two, return_exceptions=True)
    assert all(
        isinstance(result, FoxError) for result in results if isinstance(result, BaseException)
    )
    return [not isinstance(result, BaseException) for result in results]


async def catch_up(plane: Plane, other: Plane) -> None:
    """Return when ``plane`` has received all that ``other`` has."""
    await plane.store.wait_beyond(other.store.revision - 1)


@pytest.mark.parametrize("policy", PolicyType)
async def test_a_released_deployment_is_never_undeployed(
    plane: Plane, other: Plane, policy: PolicyType
) -> None:
    await deploy_apps(plane, policy=policy)
    for number in range(TIMES):
        name = f"order-app-x{number}"
        await plane.deploy(name, UI, API)
        await catch_up(other, plane)

        done = await both(
            plane.control.releases.request("team-a", name),
            other.control.deployments.undeploy(name),
        )

        await catch_up(plane, other)
        state, snapshot = plane.control.releases.get("team-a").object, plane.store.snapshot
        released = {
            app.deployment
            for release in (state.active, state.pending)
            for app in (release.apps.values() if release else ())
        }
        assert released <= snapshot.deployments.keys()
        assert done.count(True) == 1


async def test_an_environment_in_use_is_never_deleted(plane: Plane, other: Plane) -> None:
    for number in range(TIMES):
        name = f"base-{number}"
        await plane.control.environments.put(Environment(name=name))
        await catch_up(other, plane)

        done = await both(
            plane.control.environments.put(VirtualEnvironment(name=f"v{number}", environment=name)),
            other.control.environments.delete(Environment, name),
        )

        assert done.count(True) == 1


async def test_concurrent_releases_leave_no_unused_manifests(plane: Plane, other: Plane) -> None:
    await deploy_apps(plane, "team-a", "team-b")
    await catch_up(other, plane)

    for name in ("order-app-v1", "order-app-v2", "shop-v1") * 2:
        await asyncio.gather(
            plane.control.releases.request("team-a", name),
            other.control.releases.request("team-b", name),
            other.control.releases.request("team-a", "order-app-v1", "order-app"),
        )

    await catch_up(plane, other)
    assert plane.store.snapshot.releases["team-a"].active is not None
    # A request does not wait until the snapshot shows the deletion of an unused manifest.
    await plane.wait_data(
        lambda: (
            set(plane.store.snapshot.records.manifests.keys())
            <= {*release_keys(plane, "team-a"), *release_keys(plane, "team-b")}
        )
    )


def release_keys(plane: Plane, name: str) -> set[str]:
    """Return the keys of manifests that the releases of a virtual environment may have."""
    state = plane.store.snapshot.releases[name]
    releases = (state.active, state.pending, *state.history)
    return {f"{name}.{release.id}" for release in releases if release}


async def test_a_deployment_of_one_process_can_be_released_by_the_other(
    plane: Plane, other: Plane
) -> None:
    await deploy_apps(plane, policy=PolicyType.TESTING)
    for number in range(TIMES):
        name = f"order-app-y{number}"
        await plane.deploy(name, UI, API)

        await other.control.releases.request("team-a", name)
