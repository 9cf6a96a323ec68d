"""Two control processes on one NATS: whichever is asked, what is refused by one holds for both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest

from model.environment import Environment, PolicyType, VirtualEnvironment
from model.errors import FoxError
from model.release import Release
from tests.broker.control.releasing import API, UI, prepared
from tests.support.control_plane import Plane, open_plane
from tests.support.nats import NatsServer

TIMES = 10


@pytest.fixture
async def other(own_nats_server: NatsServer, plane: Plane) -> AsyncIterator[Plane]:
    async with open_plane(own_nats_server.url, "control-2") as other:
        yield other


async def both(one: Awaitable[object], two: Awaitable[object]) -> list[bool]:
    """Do two things at once, and return which of them were done; the rest was refused."""
    results = await asyncio.gather(one, two, return_exceptions=True)
    assert all(isinstance(each, FoxError) for each in results if isinstance(each, BaseException))
    return [not isinstance(each, BaseException) for each in results]


async def caught_up(plane: Plane, other: Plane) -> None:
    """Return when one process knows all that the other one does."""
    await plane.store.wait_beyond(other.store.revision - 1)


@pytest.mark.parametrize("policy", PolicyType)
async def test_what_is_released_is_never_undeployed(
    plane: Plane, other: Plane, policy: PolicyType
) -> None:
    await prepared(plane, policy=policy)
    for number in range(TIMES):
        name = f"order-app-x{number}"
        await plane.deploy(name, UI, API)
        await caught_up(other, plane)

        done = await both(
            plane.control.releases.request("team-a", name),
            other.control.deployments.undeploy(name),
        )

        await caught_up(plane, other)
        state, snapshot = plane.control.releases.get("team-a").object, plane.store.snapshot
        released = {
            each.deployment
            for release in (state.active, state.pending)
            for each in (release.apps.values() if release else ())
        }
        assert released <= snapshot.deployments.keys()
        assert done.count(True) == 1


async def test_an_environment_that_lies_under_another_is_never_deleted(
    plane: Plane, other: Plane
) -> None:
    for number in range(TIMES):
        name = f"base-{number}"
        await plane.control.environments.put(Environment(name=name))
        await caught_up(other, plane)

        done = await both(
            plane.control.environments.put(VirtualEnvironment(name=f"v{number}", environment=name)),
            other.control.environments.delete(Environment, name),
        )

        assert done.count(True) == 1


async def test_both_may_release_at_once_and_nothing_is_left_over(
    plane: Plane, other: Plane
) -> None:
    await prepared(plane, "team-a", "team-b")
    await caught_up(other, plane)

    for name in ("order-app-v1", "order-app-v2", "shop-v1") * 2:
        await asyncio.gather(
            plane.control.releases.request("team-a", name),
            other.control.releases.request("team-b", name),
            other.control.releases.request("team-a", "order-app-v1", "order-app"),
        )

    state = plane.store.snapshot.releases["team-a"]
    kept = {f"team-{letter}.{release.id}" for letter in "ab" for release in _all(plane, letter)}
    manifests = plane.store.snapshot.records.manifests.keys()
    assert state.active is not None
    assert set(manifests) <= kept


def _all(plane: Plane, letter: str) -> list[Release]:
    state = plane.store.snapshot.releases[f"team-{letter}"]
    return [each for each in (state.active, state.pending, *state.history) if each]


async def test_what_one_has_taken_the_other_knows_at_once(plane: Plane, other: Plane) -> None:
    await prepared(plane, policy=PolicyType.TESTING)
    for number in range(TIMES):
        name = f"order-app-y{number}"
        await plane.deploy(name, UI, API)

        await other.control.releases.request("team-a", name)
