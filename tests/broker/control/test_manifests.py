"""What a release froze: restored by a rollback, deleted with the last release that names it."""

from __future__ import annotations

import msgspec
import pytest

from broker.control import turn
from broker.store import Store
from model.environment import Environment, EnvironmentData, VirtualEnvironment
from model.errors import (
    NatsUnavailable,
    ReleaseNotFound,
    RevisionConflict,
)
from model.records import Record, manifest_key, release_key
from tests.broker.control.releasing import (
    active_of,
    prepared,
)
from tests.support.control_plane import Plane


async def test_a_rollback_restores_the_earlier_manifest_whole(plane: Plane) -> None:
    await prepared(plane)
    first = (await plane.control.releases.request("team-a", "order-app-v1")).object
    await plane.control.environments.put(
        VirtualEnvironment(
            name="team-a",
            environment="dev",
            data=EnvironmentData(vars={"subPath": "b"}, secrets={"token": "other"}),
        )
    )
    await plane.control.releases.request("team-a", "v2", "order-app")
    await plane.control.releases.request("team-a", "shop-v1")

    assert first.active is not None
    state = (await plane.control.releases.rollback("team-a", first.active.id)).object

    assert active_of(plane) == {"order-app": "order-app-v1"}
    assert state.active is not None
    assert state.active.id != first.active.id
    assert state.active.manifest == first.active.manifest


async def test_a_release_without_its_manifest_is_never_served_by_live_values(plane: Plane) -> None:
    await prepared(plane)
    first = (await plane.control.releases.request("team-a", "order-app-v1")).object.active
    await plane.control.releases.request("team-a", "order-app-v2")
    assert first is not None
    assert first.manifest is not None
    key = manifest_key("team-a", first.manifest)
    found = await plane.store.get(key)
    assert found is not None
    await plane.store.delete(key, found[1])
    await plane.wait_data(lambda: plane.store.snapshot.revision_of(key) == 0)

    with pytest.raises(ReleaseNotFound, match="manifest"):
        await plane.control.releases.rollback("team-a")

    assert active_of(plane) == {"order-app": "order-app-v2"}


async def test_a_rollback_without_a_release_takes_the_last_active_one(plane: Plane) -> None:
    await prepared(plane)
    await plane.control.releases.request("team-a", "order-app-v1")
    await plane.control.releases.request("team-a", "order-app-v2")

    await plane.control.releases.rollback("team-a")

    assert active_of(plane) == {"order-app": "order-app-v1"}


async def test_a_rollback_brings_back_what_was_undeployed_meanwhile(plane: Plane) -> None:
    await prepared(plane)
    await plane.control.releases.request("team-a", "order-app-v1")
    await plane.control.releases.request("team-a", "order-app-v2")
    await plane.control.deployments.undeploy("order-app-v1")

    await plane.control.releases.rollback("team-a")

    assert active_of(plane) == {"order-app": "order-app-v1"}


async def test_manifests_that_no_release_names_are_deleted(plane: Plane) -> None:
    await prepared(plane)
    found = plane.control.environments.get(Environment, "dev").object
    assert isinstance(found, Environment)
    assert found.release_policy is not None
    policy = msgspec.structs.replace(found.release_policy, history_limit=1)
    await plane.control.environments.put(msgspec.structs.replace(found, release_policy=policy))

    manifests = []
    for name in ("order-app-v1", "order-app-v2", "order-app-v1"):
        state = (await plane.control.releases.request("team-a", name)).object
        assert state.active is not None
        manifests.append(state.active.manifest or "")

    held = [plane.store.snapshot.manifest("team-a", each) is not None for each in manifests]
    assert held == [False, True, True]


async def test_a_request_that_always_loses_leaves_no_manifest(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepared(plane)
    put = Store.put

    async def lose(store: Store, key: str, record: Record | None, since: int) -> int:
        if key == release_key("team-a"):
            raise RevisionConflict("another was first")
        return await put(store, key, record, since)

    monkeypatch.setattr(Store, "put", lose)
    monkeypatch.setattr(turn, "_PATIENCE_S", 0.1)
    with pytest.raises(RevisionConflict, match="try again"):
        await plane.control.releases.request("team-a", "v2")

    bucket = await plane.bus.jetstream().key_value("kubefox")
    assert not [key for key in await bucket.keys() if key.startswith("manifest.")]


async def test_what_a_release_that_broke_off_has_left_goes_with_the_next(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepared(plane)
    put = Store.put

    async def break_off(store: Store, key: str, record: Record | None, since: int) -> int:
        if key == release_key("team-a"):
            raise NatsUnavailable("it is away")
        return await put(store, key, record, since)

    monkeypatch.setattr(Store, "put", break_off)
    with pytest.raises(NatsUnavailable):
        await plane.control.releases.request("team-a", "v2")
    left = len(plane.store.snapshot.manifests_of("team-a"))
    monkeypatch.undo()

    await plane.control.releases.request("team-a", "v2")

    await plane.wait_data(lambda: len(plane.store.snapshot.manifests_of("team-a")) == 1)
    assert left == 1


async def test_a_manifest_that_another_process_is_about_to_name_stays(plane: Plane) -> None:
    await prepared(plane)
    state = (await plane.control.releases.request("team-a", "v2")).object
    assert state.active is not None
    manifest = plane.store.snapshot.manifest("team-a", state.active.manifest or "")
    assert manifest is not None
    coming = msgspec.structs.replace(manifest, id="coming")
    await plane.store.create(manifest_key("team-a", "coming"), coming)
    await plane.wait_data(lambda: plane.store.snapshot.manifest("team-a", "coming") is not None)

    await plane.control.releases.request("team-a", "v2")
    await plane.control.releases.review("team-a")

    assert await plane.store.get(manifest_key("team-a", "coming")) is not None
