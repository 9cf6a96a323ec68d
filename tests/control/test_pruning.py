"""Pruning removes what is unused, and nothing else."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import msgspec
import pytest

from broker.events.outbox import Outbox, ensure_outbox, hashes_with_events
from broker.nats.kv import KvBucket
from broker.storage.records_bucket import BUCKET
from broker.storage.state_buckets import StateBuckets, bucket_of
from control.pruning import Pruner
from control.release_ids import new_release_id
from control.transactions import OptimisticTransaction
from kubefox import subjects
from kubefox.component import ComponentVersion
from kubefox.environment import VirtualEnvironment
from kubefox.errors import NatsUnavailable
from kubefox.pod import PodPhase
from kubefox.pruning import Pruning, UnusedManifest
from kubefox.records import manifest_key, virtual_environment_key
from tests.control.releasing import API, API_V2, UI, deploy_apps, manifests_of, wait_state
from tests.support.bundles import age
from tests.support.control_plane import Plane, deployment, open_plane, pods_of
from tests.support.nats import NatsServer


async def prune(plane: Plane, *, is_dry_run: bool = False, with_state: bool = False) -> Pruning:
    return await plane.control.pruner.prune(is_dry_run=is_dry_run, with_state=with_state)


async def deploy_and_undeploy(plane: Plane, *versions: ComponentVersion) -> None:
    """Deploy and undeploy versions, and make their bundles old enough to be pruned."""
    await plane.deploy("undeployed", *versions)
    await plane.control.deployments.undeploy("undeployed")
    await age(plane.control.bundles, *(version.hash for version in versions))


async def wait_no_record(plane: Plane, version: ComponentVersion) -> None:
    """Wait until the snapshot no longer holds a version: pruning does not wait for that."""
    await plane.wait_data(
        lambda: plane.store.snapshot.component(version.app, version.name, version.hash) is None
    )


async def hashes(plane: Plane) -> set[str]:
    return {bundle.hash for bundle in await plane.control.bundles.all()}


async def test_prune_removes_an_unused_bundle_and_its_record(plane: Plane) -> None:
    await plane.deploy("v1", UI, API)
    await deploy_and_undeploy(plane, UI, API_V2)

    done = await prune(plane)

    (version,) = done.versions
    assert (version.hash, version.components) == (API_V2.hash, ("order-app/api-server",))
    assert version.size_bytes == len(b"code")
    assert done.left == 0
    assert await hashes(plane) == {UI.hash, API.hash}
    await wait_no_record(plane, API_V2)
    assert plane.store.snapshot.component(UI.app, UI.name, UI.hash) == UI


async def test_a_dry_run_lists_and_removes_nothing(plane: Plane) -> None:
    await deploy_and_undeploy(plane, UI, API)

    done = await prune(plane, is_dry_run=True)

    assert {version.hash for version in done.versions} == {UI.hash, API.hash}
    assert await hashes(plane) == {UI.hash, API.hash}
    assert len((await prune(plane)).versions) == 2


async def test_prune_keeps_the_versions_of_an_archived_release(
    plane: Plane,
) -> None:
    await deploy_apps(plane)
    for selector in ("order-app-v1", "order-app-v2"):
        await plane.control.releases.request("team-a", selector)
        await wait_state(plane, pending=False)
    await plane.control.deployments.undeploy("order-app-v1")
    (pod,) = pods_of(API)
    await plane.control.board.remove(pod.key)
    await plane.wait_board(lambda: pod not in plane.control.board.statuses)
    await age(plane.control.bundles, API.hash)

    done = await prune(plane)

    assert done.versions == ()
    assert API.hash in await hashes(plane)


async def test_prune_keeps_the_bundle_of_a_running_pod(plane: Plane) -> None:
    await deploy_and_undeploy(plane, API)
    await plane.publish(*pods_of(API, phase=PodPhase.STOPPING))

    assert (await prune(plane)).versions == ()


async def test_prune_keeps_a_version_for_which_emitted_events_wait(plane: Plane) -> None:
    await deploy_and_undeploy(plane, UI, API)
    await ensure_outbox(plane.bus)
    target = subjects.component(API.app, API.name, API.hash)
    await Outbox(plane.bus).store(subjects.emitted(target), b"")

    done = await prune(plane)

    assert [version.hash for version in done.versions] == [UI.hash]
    assert await hashes(plane) == {API.hash}


async def test_prune_keeps_a_claimed_bundle(plane: Plane) -> None:
    await deploy_and_undeploy(plane, UI, API)
    await plane.control.deployments.plan("v2", API.app, {API.name: API.hash})

    done = await prune(plane)
    await plane.control.deployments.deploy(deployment("v2", API), [])

    assert [version.hash for version in done.versions] == [UI.hash]


async def test_deploys_and_prunes_of_two_control_planes_do_not_break_each_other(
    plane: Plane, own_nats_server: NatsServer
) -> None:
    async with open_plane(own_nats_server.url, "other") as other:
        for number in range(10):
            await deploy_and_undeploy(plane, API)

            name = f"v{number}"
            plan, _ = await asyncio.gather(
                plane.control.deployments.plan(name, API.app, {API.name: API.hash}), prune(other)
            )
            if not plan.missing_bundles:
                await plane.control.deployments.deploy(deployment(name, API), [])
                assert await plane.control.bundles.has(API.hash)
                await plane.control.deployments.undeploy(name)


def pruner(plane: Plane, **bounds: float) -> Pruner:
    """Return a pruner with other bounds."""

    async def collect_garbage(_in_use: frozenset[str]) -> None:
        """Remove nothing."""

    return Pruner(
        plane.store,
        plane.control.bundles,
        plane.control.board,
        StateBuckets(plane.bus),
        transaction=OptimisticTransaction(plane.store),
        collect_garbage=collect_garbage,
        find_waiting=partial(hashes_with_events, plane.bus),
        **bounds,  # type: ignore[arg-type]
    )


async def test_prune_removes_a_limited_number_and_returns_how_many_are_left(
    plane: Plane,
) -> None:
    limited = pruner(plane, max_removals=2)
    await deploy_and_undeploy(plane, UI, API)
    await deploy_and_undeploy(plane, API_V2)

    first = await limited.prune(is_dry_run=False, with_state=False)
    for version in (UI, API, API_V2):
        if version.hash in {removed.hash for removed in first.versions}:
            await wait_no_record(plane, version)
    second = await limited.prune(is_dry_run=False, with_state=False)

    assert (len(first.versions), first.left) == (2, 1)
    assert (len(second.versions), second.left) == (1, 0)


async def test_prune_removes_what_is_left_of_deleted_records_after_a_week(plane: Plane) -> None:
    async def revisions() -> int:
        subject = f"$KV.{BUCKET}.{virtual_environment_key('team-a')}"
        stream = plane.bus.jetstream().stream_info(f"KV_{BUCKET}", subjects_filter=subject)
        return sum(((await stream).state.subjects or {}).values())

    await plane.environments("team-a")
    await plane.control.environments.delete(VirtualEnvironment, "team-a")

    await prune(plane)
    kept = await revisions()
    await pruner(plane, keep_deleted_s=0).prune(is_dry_run=True, with_state=False)
    kept_by_a_dry_run = await revisions()
    await pruner(plane, keep_deleted_s=0).prune(is_dry_run=False, with_state=False)

    assert (kept, kept_by_a_dry_run, await revisions()) == (2, 2, 0)


async def leave_manifests(plane: Plane, *releases: str) -> str:
    """Store unused manifests beside that of an active release, and return the id of that one."""
    await deploy_apps(plane)
    state = (await plane.control.releases.request("team-a", "order-app-v1")).object
    assert state.active is not None
    assert state.active.manifest is not None
    named = plane.store.snapshot.manifest("team-a", state.active.manifest)
    assert named is not None
    for release in releases:
        left = msgspec.structs.replace(named, id=release)
        await plane.store.create_if_missing(manifest_key("team-a", release), left)
    await plane.wait_data(lambda: manifests_of(plane) == {named.id, *releases})
    return named.id


async def test_prune_removes_an_unused_manifest_after_an_hour(plane: Plane) -> None:
    now_s = time.time()
    late, early = new_release_id(now_s - 1_800), new_release_id(now_s - 5_400)
    named = await leave_manifests(plane, late, early, "other-format")

    shown, done = await prune(plane, is_dry_run=True), await prune(plane)

    unused = (UnusedManifest(virtual_environment="team-a", release=early),)
    assert (shown.manifests, done.manifests) == (unused, unused)
    await plane.wait_data(lambda: manifests_of(plane) == {named, late, "other-format"})
    assert (await prune(plane)).manifests == ()


async def test_two_control_planes_prune_each_manifest_once(
    plane: Plane, own_nats_server: NatsServer
) -> None:
    left = [new_release_id(at) for at in range(20)]
    async with open_plane(own_nats_server.url, "other") as other:
        named = await leave_manifests(plane, *left)
        await other.wait_data(lambda: manifests_of(other) == {named, *left})

        one, two = await asyncio.gather(prune(plane), prune(other))

        removed = [manifest.release for manifest in (*one.manifests, *two.manifests)]
        assert sorted(removed) == left
        await plane.wait_data(lambda: manifests_of(plane) == {named})


async def test_prune_removes_state_only_on_request_and_without_its_virtual_environment(
    plane: Plane,
) -> None:
    await plane.environments("team-a", "team-b")
    for name in ("team-a", "team-b"):
        await KvBucket(plane.bus, bucket_of(name)).put("key", b"value")
    await plane.control.environments.delete(VirtualEnvironment, "team-b")

    without, with_state = await prune(plane), await prune(plane, with_state=True)

    assert without.states == ()
    (state,) = with_state.states
    assert (state.virtual_environment, state.size_bytes > 0) == ("team-b", True)
    assert await KvBucket(plane.bus, bucket_of("team-a")).get("key") is not None
    assert await KvBucket(plane.bus, bucket_of("team-b")).get("key") is None


async def test_prune_removes_nothing_while_nats_is_down(
    plane: Plane, own_nats_server: NatsServer
) -> None:
    await deploy_and_undeploy(plane, API)
    await asyncio.to_thread(own_nats_server.kill)
    await plane.wait_disconnected()

    with pytest.raises(NatsUnavailable):
        await prune(plane)
