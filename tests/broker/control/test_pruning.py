"""What nothing names any more goes, and nothing else."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from broker.control import pruning
from broker.control.release_ids import new_release_id
from broker.kv import KvBucket
from broker.state_buckets import bucket_of
from model.component import ComponentVersion
from model.environment import VirtualEnvironment
from model.errors import NatsUnavailable
from model.pod import PodPhase
from model.pruning import Pruning, UnusedManifest
from model.records import manifest_key
from tests.broker.control.releasing import API, API_V2, UI, prepared, wait_state
from tests.support.bundles import age
from tests.support.control_plane import Plane, deployment, open_plane, pods_of
from tests.support.nats import NatsServer


async def prune(plane: Plane, *, is_dry_run: bool = False, with_state: bool = False) -> Pruning:
    return await plane.control.pruner.prune(is_dry_run=is_dry_run, with_state=with_state)


async def deployed_and_gone(plane: Plane, *versions: ComponentVersion) -> None:
    """Have versions been deployed long ago, and undeployed since."""
    await plane.deploy("gone", *versions)
    await plane.control.deployments.undeploy("gone")
    await age(plane.control.bundles, *(each.hash for each in versions))


async def hashes(plane: Plane) -> set[str]:
    return {each.hash for each in await plane.control.bundles.held()}


async def test_code_that_no_deployment_names_goes_with_its_record(plane: Plane) -> None:
    await plane.deploy("v1", UI, API)
    await deployed_and_gone(plane, UI, API_V2)

    done = await prune(plane)

    (version,) = done.versions
    assert (version.hash, version.components) == (API_V2.hash, ("order-app/api-server",))
    assert version.size_bytes == len(b"code")
    assert done.left == 0
    assert await hashes(plane) == {UI.hash, API.hash}
    component = plane.store.snapshot.component
    assert component(API_V2.app, API_V2.name, API_V2.hash) is None
    assert component(UI.app, UI.name, UI.hash) == UI


async def test_a_dry_run_tells_and_removes_nothing(plane: Plane) -> None:
    await deployed_and_gone(plane, UI, API)

    done = await prune(plane, is_dry_run=True)

    assert {each.hash for each in done.versions} == {UI.hash, API.hash}
    assert await hashes(plane) == {UI.hash, API.hash}
    assert len((await prune(plane)).versions) == 2


async def test_what_an_archived_release_froze_stays_and_can_be_rolled_back_to(
    plane: Plane,
) -> None:
    await prepared(plane)
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


async def test_code_of_a_pod_that_has_not_ended_stays(plane: Plane) -> None:
    await deployed_and_gone(plane, API)
    await plane.publish(*pods_of(API, phase=PodPhase.STOPPING))

    assert (await prune(plane)).versions == ()


async def test_code_that_a_deploy_was_told_is_there_stays_for_it(plane: Plane) -> None:
    await deployed_and_gone(plane, UI, API)
    await plane.control.deployments.plan("v2", API.app, {API.name: API.hash})

    done = await prune(plane)
    await plane.control.deployments.deploy(deployment("v2", API), [])

    assert [each.hash for each in done.versions] == [UI.hash]


async def test_deploys_and_prunes_of_two_control_planes_do_not_break_each_other(
    plane: Plane, own_nats_server: NatsServer
) -> None:
    async with open_plane(own_nats_server.url, "other") as other:
        for turn in range(10):
            await deployed_and_gone(plane, API)

            name = f"v{turn}"
            plan, _ = await asyncio.gather(
                plane.control.deployments.plan(name, API.app, {API.name: API.hash}), prune(other)
            )
            if not plan.missing_bundles:
                await plane.control.deployments.deploy(deployment(name, API), [])
                assert await plane.control.bundles.has(API.hash)
                await plane.control.deployments.undeploy(name)


async def test_a_request_removes_only_so_much_and_tells_what_is_left(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "AT_ONCE", 2)
    await deployed_and_gone(plane, UI, API)
    await deployed_and_gone(plane, API_V2)

    first, second = await prune(plane), await prune(plane)

    assert (len(first.versions), first.left) == (2, 1)
    assert (len(second.versions), second.left) == (1, 0)


async def leave_manifests(plane: Plane, *releases: str) -> str:
    """Leave manifests that nothing names beside the one of an active release; return its id."""
    await prepared(plane)
    state = (await plane.control.releases.request("team-a", "order-app-v1")).object
    assert state.active is not None
    assert state.active.manifest is not None
    named = plane.store.snapshot.manifest("team-a", state.active.manifest)
    assert named is not None
    for release in releases:
        left = msgspec.structs.replace(named, id=release)
        await plane.store.put_new(manifest_key("team-a", release), left)
    await plane.wait_data(lambda: manifests(plane) == {named.id, *releases})
    return named.id


def manifests(plane: Plane) -> set[str]:
    return {each.id for each in plane.store.snapshot.manifests_of("team-a")}


async def test_what_a_release_that_broke_off_has_left_goes_after_an_hour(plane: Plane) -> None:
    now_s = time.time()
    late, early = new_release_id(now_s - 3_590), new_release_id(now_s - 3_610)
    named = await leave_manifests(plane, late, early, "of-another-make")

    shown, done = await prune(plane, is_dry_run=True), await prune(plane)

    gone = (UnusedManifest(virtual_environment="team-a", release=early),)
    assert (shown.manifests, done.manifests) == (gone, gone)
    await plane.wait_data(lambda: manifests(plane) == {named, late, "of-another-make"})
    assert (await prune(plane)).manifests == ()


async def test_two_control_planes_remove_what_is_left_once(
    plane: Plane, own_nats_server: NatsServer
) -> None:
    left = [new_release_id(at) for at in range(20)]
    async with open_plane(own_nats_server.url, "other") as other:
        named = await leave_manifests(plane, *left)
        await other.wait_data(lambda: manifests(other) == {named, *left})

        one, two = await asyncio.gather(prune(plane), prune(other))

        gone = [each.release for each in (*one.manifests, *two.manifests)]
        assert sorted(gone) == left
        await plane.wait_data(lambda: manifests(plane) == {named})


async def test_data_goes_only_when_asked_for_and_only_without_its_virtual_environment(
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


async def test_who_does_not_know_the_latest_data_removes_nothing(
    plane: Plane, own_nats_server: NatsServer
) -> None:
    await deployed_and_gone(plane, API)
    await asyncio.to_thread(own_nats_server.kill)
    await plane.wait_disconnected()

    with pytest.raises(NatsUnavailable):
        await prune(plane)
