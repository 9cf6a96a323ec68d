"""The activator activates a pending release when its pods are ready, or archives it."""

from __future__ import annotations

import asyncio

import pytest

from control.activator import Activator
from kubefox.environment import Environment, EnvironmentData, PolicyType, VirtualEnvironment
from kubefox.errors import (
    NatsUnavailable,
)
from kubefox.pod import PodPhase
from kubefox.records import environment_key, release_key
from kubefox.release import ArchiveReason
from tests.control.releasing import (
    UI,
    active_of,
    deploy_apps,
    deploy_v3,
    wait_state,
)
from tests.support.control_plane import Plane, component, open_plane, pods_of
from tests.support.nats import NatsServer
from tests.support.revisions import revisions


def releases_text(plane: Plane) -> str:
    """Return the releases of all virtual environments as text."""
    return str([*plane.store.snapshot.releases.values()])


async def test_a_pending_release_names_the_pods_that_are_not_ready(plane: Plane) -> None:
    await deploy_apps(plane)
    await plane.control.releases.request("team-a", "order-app-v1")
    new = component("api-server", "v3")
    await plane.deploy("order-app-v3", UI, new, version="v3")

    state = (await plane.control.releases.request("team-a", "v3")).object

    assert state.pending is not None
    assert [(problem.type, problem.path) for problem in state.pending.problems] == [
        ("PodNotReady", "apps.order-app.components.api-server")
    ]
    assert active_of(plane) == {"order-app": "order-app-v1"}


async def test_a_newer_request_keeps_the_apps_of_the_pending_release(plane: Plane) -> None:
    await deploy_apps(plane)
    new = component("api-server", "v3")
    await plane.deploy("order-app-v3", UI, new, version="v3")
    await plane.control.releases.request("team-a", "v3")

    state = (await plane.control.releases.request("team-a", "shop-v1")).object

    assert state.pending is not None
    assert {app: released.deployment for app, released in state.pending.apps.items()} == {
        "order-app": "order-app-v3",
        "shop": "shop-v1",
    }
    assert state.history[0].archive_reason is ArchiveReason.SUPERSEDED


async def test_a_release_is_activated_when_its_last_pod_is_ready(plane: Plane) -> None:
    await deploy_apps(plane)
    new = await deploy_v3(plane)

    async with plane.control.activator:
        await plane.control.releases.request("team-a", "v3")
        await plane.publish(*pods_of(new, phase=PodPhase.STARTING))
        assert active_of(plane) == {}
        await plane.publish(*pods_of(new))
        state = await wait_state(plane, pending=False)

    assert active_of(plane) == {"order-app": "order-app-v3"}
    assert state.active is not None
    assert state.active.problems == ()


async def test_a_pending_release_is_archived_at_its_deadline(
    plane: Plane,
) -> None:
    await deploy_apps(plane)
    await plane.control.releases.request("team-a", "order-app-v1")
    await deploy_v3(plane)
    await plane.environments("team-a", deadline_s=0.2)

    async with plane.control.activator:
        await plane.control.releases.request("team-a", "v3")
        state = await wait_state(plane, pending=False)

    assert active_of(plane) == {"order-app": "order-app-v1"}
    assert state.history[0].archive_reason is ArchiveReason.DEADLINE_EXCEEDED
    assert [problem.type for problem in state.history[0].problems] == ["PodNotReady"]


async def test_an_older_pending_release_is_activated(plane: Plane) -> None:
    await deploy_apps(plane)
    new = await deploy_v3(plane)
    await plane.control.releases.request("team-a", "v3")
    await plane.publish(*pods_of(new))

    async with plane.control.activator:
        await wait_state(plane, pending=False)

    assert active_of(plane) == {"order-app": "order-app-v3"}


async def test_several_activators_activate_a_release_once(own_nats_server: NatsServer) -> None:
    async with (
        open_plane(own_nats_server.url, "one") as one,
        open_plane(own_nats_server.url, "two") as two,
        open_plane(own_nats_server.url, "three") as three,
    ):
        await deploy_apps(one)
        new = await deploy_v3(one)
        requested = (await one.control.releases.request("team-a", "v3")).object
        assert requested.pending is not None

        async with one.control.activator, two.control.activator, three.control.activator:
            await one.publish(*pods_of(new))
            for plane in (one, two, three):
                await wait_state(plane, pending=False)

        state = one.control.releases.get("team-a").object
        assert state.active is not None
        assert state.active.id == requested.pending.id
        assert state.history == ()
        # One write requested the release, and one activated it.
        key = release_key("team-a")
        assert len((await revisions(one.bus, key))[key]) == 2


async def test_a_pending_release_that_becomes_invalid_shows_the_problem(plane: Plane) -> None:
    await deploy_apps(plane, "team-a", policy=PolicyType.TESTING)
    new = await deploy_v3(plane)
    await plane.control.releases.request("team-a", "v3")

    async with plane.control.activator:
        await plane.control.environments.put(VirtualEnvironment(name="team-a", environment="dev"))
        await plane.publish(*pods_of(new))
        await plane.wait_data(lambda: "subPath" in releases_text(plane))
        assert active_of(plane) == {}

        await plane.environments("team-a", policy=PolicyType.TESTING)
        await wait_state(plane, pending=False)

    assert active_of(plane) == {"order-app": "order-app-v3"}


async def test_a_pending_release_without_its_environment_shows_the_problem(plane: Plane) -> None:
    await deploy_apps(plane, policy=PolicyType.TESTING)
    await deploy_v3(plane)
    await plane.control.releases.request("team-a", "v3")
    found = await plane.store.get(environment_key("dev"))
    assert found is not None

    async with plane.control.activator:
        await plane.store.delete(environment_key("dev"), found[1])
        await plane.wait_data(lambda: "EnvironmentNotFound" in releases_text(plane))


async def test_the_activator_continues_after_nats_was_down(
    plane: Plane, own_nats_server: NatsServer
) -> None:
    await deploy_apps(plane)
    new = await deploy_v3(plane)
    await plane.control.releases.request("team-a", "v3")
    await asyncio.to_thread(own_nats_server.kill)
    await plane.wait_disconnected()

    async with Activator(
        plane.control.releases,
        plane.control.rollouts,
        plane.store,
        plane.control.board,
        retry_s=0.05,
    ):
        await asyncio.to_thread(own_nats_server.start)
        async with open_plane(own_nats_server.url, "reconciler") as reconciler:
            await reconciler.publish(*pods_of(new))
        await wait_state(plane, pending=False)

    assert active_of(plane) == {"order-app": "order-app-v3"}


async def test_a_failed_review_is_repeated(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await deploy_apps(plane)
    new = await deploy_v3(plane)
    await plane.control.releases.request("team-a", "v3")
    review = type(plane.control.releases).review
    failures: list[Exception] = [NatsUnavailable("NATS is down"), KeyError("bug")]

    async def fail_at_first(releases: object, name: str) -> None:
        if failures:
            raise failures.pop()
        await review(plane.control.releases, name)

    monkeypatch.setattr(type(plane.control.releases), "review", fail_at_first)
    async with Activator(
        plane.control.releases,
        plane.control.rollouts,
        plane.store,
        plane.control.board,
        retry_s=0.01,
    ):
        await plane.publish(*pods_of(new))
        await wait_state(plane, pending=False)

    assert {record.levelname for record in caplog.records} >= {"WARNING", "ERROR"}
    assert (
        caplog.text.count("review of pending releases and rollouts failed, retrying in 0.01 s") == 2
    )


@pytest.mark.parametrize("iterations", range(12))
async def test_the_activator_stops_in_any_state(plane: Plane, iterations: int) -> None:
    await deploy_apps(plane)

    async with plane.control.activator:
        await plane.control.environments.put(
            Environment(name="dev", data=EnvironmentData(vars={"number": iterations}))
        )
        for _ in range(iterations):
            await asyncio.sleep(0)
