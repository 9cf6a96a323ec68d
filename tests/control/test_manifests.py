"""Manifests: restored by a rollback, and deleted with the last release that names them."""

from __future__ import annotations

import msgspec
import pytest

from broker.storage.store import Store
from control.releases import Releases
from control.transactions import OptimisticTransaction
from kubefox.environment import Environment, EnvironmentData, VirtualEnvironment
from kubefox.errors import (
    NatsUnavailable,
    ReleaseNotFound,
    RevisionConflict,
)
from kubefox.records import Record, manifest_key, release_key
from tests.control.releasing import (
    active_of,
    deploy_apps,
    manifests_of,
)
from tests.support.control_plane import Plane
from tests.support.revisions import revisions


async def test_a_rollback_restores_the_whole_manifest(plane: Plane) -> None:
    await deploy_apps(plane)
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


async def test_a_release_without_its_manifest_is_not_restored_with_live_values(
    plane: Plane,
) -> None:
    await deploy_apps(plane)
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


async def test_a_rollback_without_an_id_restores_the_last_active_release(plane: Plane) -> None:
    await deploy_apps(plane)
    await plane.control.releases.request("team-a", "order-app-v1")
    await plane.control.releases.request("team-a", "order-app-v2")

    await plane.control.releases.rollback("team-a")

    assert active_of(plane) == {"order-app": "order-app-v1"}


async def test_a_rollback_restores_a_deployment_that_was_undeployed(plane: Plane) -> None:
    await deploy_apps(plane)
    await plane.control.releases.request("team-a", "order-app-v1")
    await plane.control.releases.request("team-a", "order-app-v2")
    await plane.control.deployments.undeploy("order-app-v1")

    await plane.control.releases.rollback("team-a")

    assert active_of(plane) == {"order-app": "order-app-v1"}


async def test_unused_manifests_are_deleted(plane: Plane) -> None:
    await deploy_apps(plane)
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

    # A request does not wait until the snapshot shows the deletion of an unused manifest.
    await plane.wait_data(lambda: plane.store.snapshot.manifest("team-a", manifests[0]) is None)
    kept = manifests_of(plane)
    assert kept == {manifests[1], manifests[2]}


async def test_a_request_that_always_conflicts_leaves_no_manifest(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deploy_apps(plane)
    transaction = OptimisticTransaction(plane.store, timeout_s=0.1)
    releases = Releases(plane.store, plane.control.board.ready_versions, transaction=transaction)
    put = Store.put

    async def lose(store: Store, key: str, record: Record | None, since: int) -> int:
        if key == release_key("team-a"):
            raise RevisionConflict("another write was first")
        return await put(store, key, record, since)

    monkeypatch.setattr(Store, "put", lose)
    with pytest.raises(RevisionConflict, match="retry"):
        await releases.request("team-a", "v2")

    manifests = await revisions(plane.bus, "manifest.>")
    assert manifests
    assert not any(kept[-1] for kept in manifests.values())


async def test_the_next_release_deletes_the_manifest_of_a_failed_one(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deploy_apps(plane)
    put = Store.put

    async def break_off(store: Store, key: str, record: Record | None, since: int) -> int:
        if key == release_key("team-a"):
            raise NatsUnavailable("NATS is down")
        return await put(store, key, record, since)

    monkeypatch.setattr(Store, "put", break_off)
    with pytest.raises(NatsUnavailable):
        await plane.control.releases.request("team-a", "v2")
    left = len(manifests_of(plane))
    monkeypatch.undo()

    await plane.control.releases.request("team-a", "v2")

    await plane.wait_data(lambda: len(manifests_of(plane)) == 1)
    assert left == 1


async def test_a_manifest_whose_state_is_not_written_yet_is_kept(plane: Plane) -> None:
    await deploy_apps(plane)
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
