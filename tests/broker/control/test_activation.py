"""A pending release becomes active when its pods are ready, or is archived."""

from __future__ import annotations

import asyncio

import pytest

from broker.control.activator import ReleaseActivator
from model.environment import Environment, EnvironmentData, PolicyType, VirtualEnvironment
from model.errors import (
    NatsUnavailable,
)
from model.pod import PodPhase
from model.records import environment_key, release_key
from model.release import ArchiveReason
from tests.broker.control.releasing import (
    UI,
    active_of,
    new_version,
    prepared,
    wait_state,
)
from tests.support.control_plane import Plane, component, open_plane, pods_of
from tests.support.nats import NatsServer


async def test_a_release_waits_for_its_pods_and_names_them(plane: Plane) -> None:
    await prepared(plane)
    await plane.control.releases.request("team-a", "order-app-v1")
    new = component("api-server", "v3")
    await plane.deploy("order-app-v3", UI, new, version="v3")

    state = (await plane.control.releases.request("team-a", "v3")).object

    assert state.pending is not None
    assert [(each.type, each.path) for each in state.pending.problems] == [
        ("PodNotReady", "apps.order-app.components.api-server")
    ]
    assert active_of(plane) == {"order-app": "order-app-v1"}


async def test_a_newer_request_keeps_what_the_pending_one_asked_for(plane: Plane) -> None:
    await prepared(plane)
    new = component("api-server", "v3")
    await plane.deploy("order-app-v3", UI, new, version="v3")
    await plane.control.releases.request("team-a", "v3")

    state = (await plane.control.releases.request("team-a", "shop-v1")).object

    assert state.pending is not None
    assert {app: each.deployment for app, each in state.pending.apps.items()} == {
        "order-app": "order-app-v3",
        "shop": "shop-v1",
    }
    assert state.history[0].archive_reason is ArchiveReason.SUPERSEDED


async def test_the_activator_activates_when_the_last_pod_is_ready(plane: Plane) -> None:
    await prepared(plane)
    new = await new_version(plane)

    async with plane.control.activator:
        await plane.control.releases.request("team-a", "v3")
        await plane.publish(*pods_of(new, phase=PodPhase.STARTING))
        assert active_of(plane) == {}
        await plane.publish(*pods_of(new))
        state = await wait_state(plane, pending=False)

    assert active_of(plane) == {"order-app": "order-app-v3"}
    assert state.active is not None
    assert state.active.problems == ()


async def test_the_activator_archives_at_the_deadline_and_the_active_one_stays(
    plane: Plane,
) -> None:
    await prepared(plane)
    await plane.control.releases.request("team-a", "order-app-v1")
    await new_version(plane)
    await plane.environments("team-a", deadline_s=0.2)

    async with plane.control.activator:
        await plane.control.releases.request("team-a", "v3")
        state = await wait_state(plane, pending=False)

    assert active_of(plane) == {"order-app": "order-app-v1"}
    assert state.history[0].archive_reason is ArchiveReason.DEADLINE_EXCEEDED
    assert [each.type for each in state.history[0].problems] == ["PodNotReady"]


async def test_what_was_pending_before_the_activator_began_is_activated(plane: Plane) -> None:
    await prepared(plane)
    new = await new_version(plane)
    await plane.control.releases.request("team-a", "v3")
    await plane.publish(*pods_of(new))

    async with plane.control.activator:
        await wait_state(plane, pending=False)

    assert active_of(plane) == {"order-app": "order-app-v3"}


async def test_several_activators_activate_once(own_nats_server: NatsServer) -> None:
    async with (
        open_plane(own_nats_server.url, "one") as one,
        open_plane(own_nats_server.url, "two") as two,
        open_plane(own_nats_server.url, "three") as three,
    ):
        await prepared(one)
        new = await new_version(one)
        requested = (await one.control.releases.request("team-a", "v3")).object
        assert requested.pending is not None

        async with one.control.activator, two.control.activator, three.control.activator:
            await one.publish(*pods_of(new))
            for each in (one, two, three):
                await wait_state(each, pending=False)

        state = one.control.releases.get("team-a").object
        assert state.active is not None
        assert state.active.id == requested.pending.id
        assert state.history == ()
        bucket = await one.bus.jetstream().key_value("kubefox")
        # Requested, and activated by whoever was first.
        assert len(await bucket.history(release_key("team-a"))) == 2


async def test_a_pending_release_that_becomes_invalid_waits_with_the_problem(plane: Plane) -> None:
    await prepared(plane, "team-a", policy=PolicyType.TESTING)
    new = await new_version(plane)
    await plane.control.releases.request("team-a", "v3")

    async with plane.control.activator:
        await plane.control.environments.put(VirtualEnvironment(name="team-a", environment="dev"))
        await plane.publish(*pods_of(new))
        await plane.wait_data(lambda: "subPath" in str(plane.control.releases.all()))
        assert active_of(plane) == {}

        await plane.environments("team-a", policy=PolicyType.TESTING)
        await wait_state(plane, pending=False)

    assert active_of(plane) == {"order-app": "order-app-v3"}


async def test_a_pending_release_whose_environment_is_gone_says_so(plane: Plane) -> None:
    await prepared(plane, policy=PolicyType.TESTING)
    await new_version(plane)
    await plane.control.releases.request("team-a", "v3")
    found = await plane.store.get(environment_key("dev"))
    assert found is not None

    async with plane.control.activator:
        await plane.store.delete(environment_key("dev"), found[1])
        await plane.wait_data(lambda: "EnvironmentNotFound" in str(plane.control.releases.all()))


async def test_the_activator_goes_on_after_nats_was_away(
    plane: Plane, own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepared(plane)
    new = await new_version(plane)
    await plane.control.releases.request("team-a", "v3")
    await asyncio.to_thread(own_nats_server.kill)
    await plane.wait_disconnected()
    monkeypatch.setattr("broker.control.activator.RETRY_S", 0.05)

    async with plane.control.activator:
        await asyncio.to_thread(own_nats_server.start)
        async with open_plane(own_nats_server.url, "reconciler") as reconciler:
            await reconciler.publish(*pods_of(new))
        await wait_state(plane, pending=False)

    assert active_of(plane) == {"order-app": "order-app-v3"}


async def test_a_review_that_fails_is_tried_again(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await prepared(plane)
    new = await new_version(plane)
    await plane.control.releases.request("team-a", "v3")
    review = type(plane.control.releases).review
    failures: list[Exception] = [NatsUnavailable("away"), KeyError("bug")]

    async def fail_at_first(releases: object, name: str) -> None:
        if failures:
            raise failures.pop()
        await review(plane.control.releases, name)

    monkeypatch.setattr(type(plane.control.releases), "review", fail_at_first)
    monkeypatch.setattr("broker.control.activator.RETRY_S", 0.01)
    async with ReleaseActivator(plane.control.releases, plane.store, plane.control.board):
        await plane.publish(*pods_of(new))
        await wait_state(plane, pending=False)

    assert "could not be reviewed" in caplog.text
    assert "cannot be reviewed" in caplog.text


@pytest.mark.parametrize("turns", range(12))
async def test_the_activator_ends_whatever_it_does(plane: Plane, turns: int) -> None:
    await prepared(plane)

    async with plane.control.activator:
        await plane.control.environments.put(
            Environment(name="dev", data=EnvironmentData(vars={"turn": turns}))
        )
        for _ in range(turns):
            await asyncio.sleep(0)
