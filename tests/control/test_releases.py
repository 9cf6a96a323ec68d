"""Requests of releases, and why they are refused."""

from __future__ import annotations

import asyncio

import pytest

from kubefox.deployment import SourceRef
from kubefox.environment import Environment, EnvironmentData, PolicyType, VirtualEnvironment
from kubefox.errors import (
    DeploymentNotFound,
    EnvironmentNotFound,
    InvalidRequest,
    ProblemsFound,
    ReleaseNotFound,
)
from kubefox.records import release_key
from kubefox.release import ArchiveReason, ReleasedApp, ReleaseState
from tests.control.releasing import (
    API,
    API_V2,
    UI,
    active_of,
    deploy_apps,
    deploy_v3,
)
from tests.support.control_plane import Plane, deployment, open_plane, pods_of
from tests.support.nats import NatsServer


async def test_a_release_with_ready_pods_is_active_at_once(plane: Plane) -> None:
    await deploy_apps(plane)

    stored = await plane.control.releases.request("team-a", "order-app-v2")

    assert stored.object.active is not None
    assert stored.object.pending is None
    assert stored.object.active.apps == {
        "order-app": ReleasedApp(deployment="order-app-v2", version="v2")
    }
    assert plane.control.releases.get("team-a") == stored
    assert plane.store.snapshot.revision >= stored.revision > 0


async def test_a_request_keeps_the_other_apps(plane: Plane) -> None:
    await deploy_apps(plane)
    await plane.control.releases.request("team-a", "shop-v1")

    await plane.control.releases.request("team-a", "v2", "order-app")

    assert active_of(plane) == {"shop": "shop-v1", "order-app": "order-app-v2"}


async def test_a_stable_release_keeps_its_values(plane: Plane) -> None:
    await deploy_apps(plane)
    await plane.control.releases.request("team-a", "order-app-v1")

    await plane.control.environments.put(
        VirtualEnvironment(
            name="team-a", environment="dev", data=EnvironmentData(vars={"subPath": "changed"})
        )
    )

    active = plane.control.releases.get("team-a").object.active
    assert active is not None
    assert active.manifest is not None
    manifest = plane.store.snapshot.manifest("team-a", active.manifest)
    assert manifest is not None
    assert manifest.deployments["order-app"].name == "order-app-v1"
    assert manifest.data == EnvironmentData(
        vars={"subPath": "team-a"}, secrets={"token": "of-team-a"}
    )


async def test_a_testing_release_has_no_manifest_and_needs_no_version(plane: Plane) -> None:
    await plane.environments("team-a", policy=PolicyType.TESTING)
    await plane.deploy("main", UI, API)
    await plane.publish(*pods_of(UI, API))

    state = (await plane.control.releases.request("team-a", "main")).object

    assert state.active is not None
    assert state.active.manifest is None


async def test_a_stable_release_needs_a_version(plane: Plane) -> None:
    await plane.environments("team-a")
    await plane.deploy("main", UI, API)

    with pytest.raises(ProblemsFound) as caught:
        await plane.control.releases.request("team-a", "main")

    assert [(problem.type, problem.path) for problem in caught.value.problems] == [
        ("VersionRequired", "apps.order-app.version")
    ]
    assert not plane.store.snapshot.releases


async def test_a_missing_variable_is_a_problem(plane: Plane) -> None:
    await deploy_apps(plane)
    await plane.control.environments.put(VirtualEnvironment(name="team-a", environment="dev"))

    with pytest.raises(ProblemsFound) as caught:
        await plane.control.releases.request("team-a", "order-app-v1")

    assert any("subPath" in problem.message for problem in caught.value.problems)


async def test_a_route_conflict_with_another_environment_is_a_problem(plane: Plane) -> None:
    await deploy_apps(plane, "team-a", "team-b")
    await plane.control.environments.put(
        VirtualEnvironment(
            name="team-b", environment="dev", data=EnvironmentData(vars={"subPath": "team-a"})
        )
    )
    await plane.control.releases.request("team-a", "order-app-v1")

    with pytest.raises(ProblemsFound) as caught:
        await plane.control.releases.request("team-b", "order-app-v1")

    assert [problem.type for problem in caught.value.problems] == ["RouteConflict"]


@pytest.mark.parametrize(
    "selector",
    ["order-app-v9", "abcdef1", "abcdef1" + "0" * 33, "v9", "release/9", "feature/nine"],
)
async def test_a_selector_matches_name_commit_version_tag_and_branch(
    plane: Plane, selector: str
) -> None:
    await deploy_apps(plane)
    await plane.control.bundles.put(API_V2.hash, b"code")
    source = SourceRef(commit="abcdef1" + "0" * 33, tag="release/9", branch="feature/nine")
    wanted = deployment("order-app-v9", UI, API_V2, version="v9", source=source)
    await plane.control.deployments.deploy(wanted, ())

    await plane.control.releases.request("team-a", selector)

    assert active_of(plane) == {"order-app": "order-app-v9"}


async def test_an_ambiguous_selector_lists_the_deployments(plane: Plane) -> None:
    await deploy_apps(plane)

    with pytest.raises(InvalidRequest, match=r"order-app-v1 \(app order-app\), shop-v1"):
        await plane.control.releases.request("team-a", "v1")
    await plane.control.releases.request("team-a", "v1", "shop")

    assert active_of(plane) == {"shop": "shop-v1"}


async def test_missing_objects_are_not_found(plane: Plane) -> None:
    await deploy_apps(plane)

    with pytest.raises(DeploymentNotFound, match="of app shop has the name"):
        await plane.control.releases.request("team-a", "v2", "shop")
    with pytest.raises(EnvironmentNotFound, match="team-z"):
        await plane.control.releases.request("team-z", "v2")
    with pytest.raises(EnvironmentNotFound):
        plane.control.releases.get("team-z")
    with pytest.raises(ReleaseNotFound):
        await plane.control.releases.rollback("team-a")


async def test_an_environment_without_releases_has_an_empty_state(plane: Plane) -> None:
    await plane.environments("team-a")

    assert plane.control.releases.get("team-a").object == ReleaseState(virtual_environment="team-a")
    assert not plane.store.snapshot.releases


async def test_requesting_the_active_release_changes_nothing(plane: Plane) -> None:
    await deploy_apps(plane)
    first = await plane.control.releases.request("team-a", "v2")

    assert await plane.control.releases.request("team-a", "v2") == first


async def test_requesting_it_after_a_change_of_values_creates_a_new_release(plane: Plane) -> None:
    await deploy_apps(plane)
    first = (await plane.control.releases.request("team-a", "v2")).object
    await plane.control.environments.put(
        Environment(name="dev", data=EnvironmentData(vars={"colour": "green"}))
    )

    second = (await plane.control.releases.request("team-a", "v2")).object

    assert first.active is not None
    assert second.active is not None
    assert second.active.id != first.active.id
    assert second.history[0].id == first.active.id


async def test_request_apps_releases_exactly_these_apps(plane: Plane) -> None:
    await deploy_apps(plane)
    await plane.control.releases.request("team-a", "shop-v1")

    await plane.control.releases.request_apps(
        "team-a", {"order-app": ReleasedApp(deployment="order-app-v1", version="v1")}
    )

    assert active_of(plane) == {"order-app": "order-app-v1"}


@pytest.mark.parametrize(
    ("app", "released", "problem"),
    [
        ("order-app", ReleasedApp(deployment="nothing"), "DeploymentNotFound"),
        ("shop", ReleasedApp(deployment="order-app-v1"), "AppMismatch"),
        ("order-app", ReleasedApp(deployment="order-app-v1", version="v2"), "VersionMismatch"),
        ("order-app", ReleasedApp(deployment="order-app-v1", version=""), "InvalidVersion"),
    ],
)
async def test_an_app_that_does_not_match_is_a_problem(
    plane: Plane, app: str, released: ReleasedApp, problem: str
) -> None:
    await deploy_apps(plane)

    with pytest.raises(ProblemsFound) as caught:
        await plane.control.releases.request_apps("team-a", {app: released})

    assert caught.value.problems[0].type == problem


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("", "the version is empty: give a version, or omit the field"),
        ("v1", "deployment main has no version, but version v1 is requested"),
    ],
)
async def test_a_wrong_version_is_explained(plane: Plane, version: str, message: str) -> None:
    await plane.environments("team-a", policy=PolicyType.TESTING)
    await plane.deploy("main", UI, API)
    wanted = {"order-app": ReleasedApp(deployment="main", version=version)}

    with pytest.raises(ProblemsFound) as caught:
        await plane.control.releases.request_apps("team-a", wanted)

    (problem,) = caught.value.problems
    assert (problem.message, problem.path) == (message, "apps.order-app.version")


@pytest.mark.parametrize("is_rollback", [True, False])
async def test_rollback_and_abort_drop_a_pending_release_and_keep_the_active_one(
    plane: Plane, *, is_rollback: bool
) -> None:
    await deploy_apps(plane)
    await plane.control.releases.request("team-a", "order-app-v1")
    await plane.control.releases.request("team-a", "order-app-v2")
    await deploy_v3(plane)
    await plane.control.releases.request("team-a", "v3")

    releases = plane.control.releases
    drop = releases.rollback if is_rollback else releases.abort
    state = (await drop("team-a")).object

    assert state.pending is None
    assert state.history[0].archive_reason is ArchiveReason.ABORTED
    assert active_of(plane) == {"order-app": "order-app-v2"}
    await plane.control.releases.rollback("team-a")
    assert active_of(plane) == {"order-app": "order-app-v1"}


async def test_a_rollback_to_an_id_replaces_a_pending_release(plane: Plane) -> None:
    await deploy_apps(plane)
    first = (await plane.control.releases.request("team-a", "order-app-v1")).object.active
    await plane.control.releases.request("team-a", "order-app-v2")
    await deploy_v3(plane)
    await plane.control.releases.request("team-a", "v3")
    assert first is not None

    state = (await plane.control.releases.rollback("team-a", first.id)).object

    assert state.history[1].archive_reason is ArchiveReason.SUPERSEDED
    assert active_of(plane) == {"order-app": "order-app-v1"}


async def test_nothing_is_aborted_when_no_release_is_pending(plane: Plane) -> None:
    await deploy_apps(plane)
    await plane.control.releases.request("team-a", "order-app-v1")

    with pytest.raises(ReleaseNotFound, match="team-a has no pending release"):
        await plane.control.releases.abort("team-a")
    with pytest.raises(EnvironmentNotFound):
        await plane.control.releases.abort("team-z")


async def test_no_apps_withdraw_the_active_and_the_pending_release(plane: Plane) -> None:
    await deploy_apps(plane)
    await plane.control.releases.request("team-a", "order-app-v1")
    await deploy_v3(plane)
    pending = (await plane.control.releases.request("team-a", "v3")).object.pending

    stored = await plane.control.releases.request_apps("team-a", {})
    again = await plane.control.releases.request_apps("team-a", {})

    assert pending is not None
    assert (stored.object.active, stored.object.pending) == (None, None)
    assert {release.archive_reason for release in stored.object.history} == {
        ArchiveReason.WITHDRAWN
    }
    assert again == stored
    await plane.control.deployments.undeploy("order-app-v1")
    await plane.control.releases.rollback("team-a")
    assert active_of(plane) == {"order-app": "order-app-v1"}


async def test_withdrawing_without_a_release_writes_nothing(plane: Plane) -> None:
    await deploy_apps(plane)

    stored = await plane.control.releases.request_apps("team-a", {})

    assert stored == plane.control.releases.get("team-a")
    assert not plane.store.snapshot.releases
    with pytest.raises(EnvironmentNotFound):
        await plane.control.releases.request_apps("team-z", {})


async def test_concurrent_requests_for_two_apps_both_succeed(own_nats_server: NatsServer) -> None:
    async with (
        open_plane(own_nats_server.url, "one") as one,
        open_plane(own_nats_server.url, "two") as two,
    ):
        await deploy_apps(one)
        await two.store.wait_revision(one.store.snapshot.revision)
        await two.wait_board(lambda: len(two.control.board.ready_versions()) == 4)

        await asyncio.gather(
            one.control.releases.request("team-a", "shop-v1"),
            two.control.releases.request("team-a", "v2"),
        )

        found = await one.store.get(release_key("team-a"))
        assert found is not None
        assert isinstance(found[0], ReleaseState)
        assert found[0].active is not None
        assert found[0].active.apps.keys() == {"shop", "order-app"}
