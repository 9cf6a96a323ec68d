"""What is released, and what of it is refused."""

from __future__ import annotations

import asyncio

import pytest

from model.deployment import SourceRef
from model.environment import Environment, EnvironmentData, PolicyType, VirtualEnvironment
from model.errors import (
    DeploymentNotFound,
    EnvironmentNotFound,
    InvalidRequest,
    ProblemsFound,
    ReleaseNotFound,
)
from model.records import release_key
from model.release import ArchiveReason, ReleasedApp, ReleaseState
from tests.broker.control.releasing import (
    API,
    API_V2,
    UI,
    active_of,
    new_version,
    prepared,
)
from tests.support.control_plane import Plane, deployment, open_plane, pods_of
from tests.support.nats import NatsServer


async def test_a_release_whose_pods_are_ready_is_active_at_once(plane: Plane) -> None:
    await prepared(plane)

    stored = await plane.control.releases.request("team-a", "order-app-v2")

    assert stored.object.active is not None
    assert stored.object.pending is None
    assert stored.object.active.apps == {
        "order-app": ReleasedApp(deployment="order-app-v2", version="v2")
    }
    assert plane.control.releases.get("team-a") == stored
    assert plane.store.snapshot.revision >= stored.revision > 0


async def test_the_other_apps_of_the_environment_stay(plane: Plane) -> None:
    await prepared(plane)
    await plane.control.releases.request("team-a", "shop-v1")

    await plane.control.releases.request("team-a", "v2", "order-app")

    assert active_of(plane) == {"shop": "shop-v1", "order-app": "order-app-v2"}


async def test_a_stable_release_is_frozen(plane: Plane) -> None:
    await prepared(plane)
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


async def test_a_testing_release_freezes_nothing_and_needs_no_version(plane: Plane) -> None:
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

    assert [(each.type, each.path) for each in caught.value.problems] == [
        ("VersionRequired", "apps.order-app.version")
    ]
    assert plane.control.releases.all() == ()


async def test_what_routing_finds_is_a_problem(plane: Plane) -> None:
    await prepared(plane)
    await plane.control.environments.put(VirtualEnvironment(name="team-a", environment="dev"))

    with pytest.raises(ProblemsFound) as caught:
        await plane.control.releases.request("team-a", "order-app-v1")

    assert any("subPath" in each.message for each in caught.value.problems)


async def test_routes_that_another_environment_has_released_are_a_problem(plane: Plane) -> None:
    await prepared(plane, "team-a", "team-b")
    await plane.control.environments.put(
        VirtualEnvironment(
            name="team-b", environment="dev", data=EnvironmentData(vars={"subPath": "team-a"})
        )
    )
    await plane.control.releases.request("team-a", "order-app-v1")

    with pytest.raises(ProblemsFound) as caught:
        await plane.control.releases.request("team-b", "order-app-v1")

    assert [each.type for each in caught.value.problems] == ["RouteConflict"]


@pytest.mark.parametrize(
    "selector",
    ["order-app-v9", "abcdef1", "abcdef1" + "0" * 33, "v9", "release/9", "feature/nine"],
)
async def test_a_deployment_answers_to_name_commit_version_tag_and_branch(
    plane: Plane, selector: str
) -> None:
    await prepared(plane)
    await plane.control.bundles.put(API_V2.hash, b"code")
    source = SourceRef(commit="abcdef1" + "0" * 33, tag="release/9", branch="feature/nine")
    wanted = deployment("order-app-v9", UI, API_V2, version="v9", source=source)
    await plane.control.deployments.deploy(wanted, ())

    await plane.control.releases.request("team-a", selector)

    assert active_of(plane) == {"order-app": "order-app-v9"}


async def test_an_ambiguous_selector_lists_what_it_can_mean(plane: Plane) -> None:
    await prepared(plane)

    with pytest.raises(InvalidRequest, match=r"order-app-v1 \(app order-app\), shop-v1"):
        await plane.control.releases.request("team-a", "v1")
    await plane.control.releases.request("team-a", "v1", "shop")

    assert active_of(plane) == {"shop": "shop-v1"}


async def test_what_does_not_exist_is_not_found(plane: Plane) -> None:
    await prepared(plane)

    with pytest.raises(DeploymentNotFound, match="of app shop answers to 'v2'"):
        await plane.control.releases.request("team-a", "v2", "shop")
    with pytest.raises(EnvironmentNotFound, match="team-z"):
        await plane.control.releases.request("team-z", "v2")
    with pytest.raises(EnvironmentNotFound):
        plane.control.releases.get("team-z")
    with pytest.raises(ReleaseNotFound):
        await plane.control.releases.rollback("team-a")


async def test_an_environment_without_releases_has_none(plane: Plane) -> None:
    await plane.environments("team-a")

    assert plane.control.releases.get("team-a").object == ReleaseState(virtual_environment="team-a")
    assert plane.control.releases.all() == ()


async def test_releasing_what_is_active_changes_nothing(plane: Plane) -> None:
    await prepared(plane)
    first = await plane.control.releases.request("team-a", "v2")

    assert await plane.control.releases.request("team-a", "v2") == first


async def test_releasing_again_after_a_change_of_values_freezes_them_anew(plane: Plane) -> None:
    await prepared(plane)
    first = (await plane.control.releases.request("team-a", "v2")).object
    await plane.control.environments.put(
        Environment(name="dev", data=EnvironmentData(vars={"colour": "green"}))
    )

    second = (await plane.control.releases.request("team-a", "v2")).object

    assert first.active is not None
    assert second.active is not None
    assert second.active.id != first.active.id
    assert second.history[0].id == first.active.id


async def test_exactly_the_apps_that_are_given_are_released(plane: Plane) -> None:
    await prepared(plane)
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
async def test_apps_that_do_not_fit_are_a_problem(
    plane: Plane, app: str, released: ReleasedApp, problem: str
) -> None:
    await prepared(plane)

    with pytest.raises(ProblemsFound) as caught:
        await plane.control.releases.request_apps("team-a", {app: released})

    assert caught.value.problems[0].type == problem


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("", "the version is empty: name one, or leave it out"),
        ("v1", "deployment main has no version, and version v1 was asked for"),
    ],
)
async def test_a_version_that_a_deployment_lacks_is_told_in_words(
    plane: Plane, version: str, message: str
) -> None:
    await plane.environments("team-a", policy=PolicyType.TESTING)
    await plane.deploy("main", UI, API)
    wanted = {"order-app": ReleasedApp(deployment="main", version=version)}

    with pytest.raises(ProblemsFound) as caught:
        await plane.control.releases.request_apps("team-a", wanted)

    (problem,) = caught.value.problems
    assert (problem.message, problem.path) == (message, "apps.order-app.version")


async def test_no_apps_withdraw_what_is_active_and_what_is_pending(plane: Plane) -> None:
    await prepared(plane)
    await plane.control.releases.request("team-a", "order-app-v1")
    await new_version(plane)
    pending = (await plane.control.releases.request("team-a", "v3")).object.pending

    stored = await plane.control.releases.request_apps("team-a", {})
    again = await plane.control.releases.request_apps("team-a", {})

    assert pending is not None
    assert (stored.object.active, stored.object.pending) == (None, None)
    assert {each.archive_reason for each in stored.object.history} == {ArchiveReason.WITHDRAWN}
    assert again == stored
    await plane.control.deployments.undeploy("order-app-v1")
    await plane.control.releases.rollback("team-a")
    assert active_of(plane) == {"order-app": "order-app-v1"}


async def test_withdrawing_where_nothing_is_released_writes_nothing(plane: Plane) -> None:
    await prepared(plane)

    stored = await plane.control.releases.request_apps("team-a", {})

    assert stored == plane.control.releases.get("team-a")
    assert plane.control.releases.all() == ()
    with pytest.raises(EnvironmentNotFound):
        await plane.control.releases.request_apps("team-z", {})


async def test_requests_at_once_for_two_apps_both_count(own_nats_server: NatsServer) -> None:
    async with (
        open_plane(own_nats_server.url, "one") as one,
        open_plane(own_nats_server.url, "two") as two,
    ):
        await prepared(one)
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
