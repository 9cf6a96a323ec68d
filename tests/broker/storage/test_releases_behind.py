"""A change that many releases use does not hold up the changes behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from broker.storage import releases_behind
from broker.storage import store as stores
from broker.storage.releases_behind import ReleasesBehind, Replace
from fox import Kit
from kubefox.environment import Environment, EnvironmentData
from kubefox.records import environment_key
from routing.request import GenesisRequest
from routing.selectors import NO_SELECTORS
from routing.snapshot.snapshot import Snapshot, SnapshotBuilder
from tests.support import records as build
from tests.support.data_plane import DataPlane, open_data_plane
from tests.support.nats import NatsServer

TEAMS = ("team-a", "team-b", "team-c")


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Leave releases behind one by one, and bring none to the latest record until this is set."""
    run, event = ReleasesBehind.run, asyncio.Event()

    async def run_later(
        behind: ReleasesBehind, current: Callable[[], Snapshot], replace: Replace
    ) -> None:
        await event.wait()
        await run(behind, current, replace)

    monkeypatch.setattr(ReleasesBehind, "run", run_later)
    monkeypatch.setattr(stores, "AT_ONCE", 1)
    monkeypatch.setattr(releases_behind, "TURN", 1)
    return event


async def release_teams(plane: DataPlane) -> None:
    """Release a deployment in virtual environments that take the first segment from ``dev``."""
    web = Kit()

    @web.route("Path(`/{{.Vars.base}}/{{.Vars.own}}`)")
    async def serve(ctx: object) -> None: ...

    await plane.deploy("v1", {"web": web})
    await set_base(plane, "one")
    for name in TEAMS:
        await plane.virtual_environment(name, own=name)
        await plane.release(name, "v1")


async def set_base(plane: DataPlane, value: str) -> int:
    record = Environment(name="dev", data=EnvironmentData(vars={"base": value}))
    return await plane.write(environment_key("dev"), record)


def environment_revision(plane: DataPlane, path: str) -> int:
    target = plane.broker.resolve(GenesisRequest(path=path), NO_SELECTORS).target
    return target.context.environment_revision


async def test_later_changes_are_visible_before_all_releases_follow_a_changed_environment(
    own_nats_server: NatsServer, go_on: asyncio.Event
) -> None:
    async with open_data_plane(own_nats_server.url) as plane:
        await release_teams(plane)
        store = plane.broker.store
        revision = await set_base(plane, "two")
        routed = asyncio.create_task(store.wait_routed("dev"))

        await plane.write(*build.virtual_environment("team-b", {"own": "moved"}))

        assert environment_revision(plane, "/one/team-a") < revision
        assert environment_revision(plane, "/two/moved") == revision
        await store.wait_routed("other")
        assert not routed.done()
        go_on.set()
        await routed
        assert environment_revision(plane, "/two/team-a") == revision
        assert (await store.usage()).snapshot is store.snapshot


async def test_a_failure_does_not_leave_releases_behind_for_ever(
    own_nats_server: NatsServer, go_on: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases_behind, "RETRY_S", 0)
    refresh, failures = SnapshotBuilder.refresh_behind, [RuntimeError("broken")]

    def fail_once(builder: SnapshotBuilder, limit: int) -> object:
        if failures:
            raise failures.pop()
        return refresh(builder, limit)

    monkeypatch.setattr(SnapshotBuilder, "refresh_behind", fail_once)
    async with open_data_plane(own_nats_server.url) as plane:
        await release_teams(plane)
        revision = await set_base(plane, "two")
        go_on.set()

        await plane.broker.store.wait_routed("dev")

        assert environment_revision(plane, "/two/team-c") == revision
    assert not failures
