"""Releases: requested, activated by ready pods, archived at the deadline, rolled back whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker.control.activator import ReleaseActivator
from broker.store import Store
from model.component import ComponentVersion
from model.deployment import SourceRef
from model.environment import Environment, EnvironmentData, PolicyType, VirtualEnvironment
from model.errors import (
    DeploymentNotFound,
    EnvironmentNotFound,
    InvalidRequest,
    NatsUnavailable,
    ProblemsFound,
    ReleaseNotFound,
    RevisionConflict,
)
from model.pod import PodPhase
from model.records import environment_key, manifest_key, release_key
from model.release import ArchiveReason, ReleasedApp, ReleaseState
from tests.support.control_plane import Plane, component, deployment, open_plane, pods_of
from tests.support.nats import NatsServer

RULE = "Path(`/{{.Vars.subPath}}/orders`)"
UI = component("order-ui", routes=[RULE], calls=["api-server"])
API = component("api-server")
API_V2 = component("api-server", "v2")
SHOP = component("shop-ui", app="shop", routes=["Path(`/{{.Vars.subPath}}/shop`)"])


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[Plane]:
    async with open_plane(own_nats_server.url) as plane:
        yield plane


async def prepared(plane: Plane, *names: str, policy: PolicyType = PolicyType.STABLE) -> None:
    await plane.environments(*(names or ("team-a",)), policy=policy)
    await plane.deploy("order-app-v1", UI, API, version="v1")
    await plane.deploy("order-app-v2", UI, API_V2, version="v2")
    await plane.deploy("shop-v1", SHOP, version="v1")
    await plane.publish(*pods_of(UI, API, API_V2, SHOP))


def active_of(plane: Plane, name: str = "team-a") -> dict[str, str]:
    active = plane.control.releases.get(name).object.active
    return {app: each.deployment for app, each in active.apps.items()} if active else {}


async def wait_state(plane: Plane, name: str = "team-a", *, pending: bool) -> ReleaseState:
    def is_there() -> bool:
        state = plane.store.snapshot.releases.get(name)
        return state is not None and (state.pending is not None) == pending

    await plane.wait_data(is_there)
    return plane.control.releases.get(name).object


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
    ],
)
async def test_apps_that_do_not_fit_are_a_problem(
    plane: Plane, app: str, released: ReleasedApp, problem: str
) -> None:
    await prepared(plane)

    with pytest.raises(ProblemsFound) as caught:
        await plane.control.releases.request_apps("team-a", {app: released})

    assert caught.value.problems[0].type == problem


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


async def new_version(plane: Plane) -> ComponentVersion:
    new = component("api-server", "v3")
    await plane.deploy("order-app-v3", UI, new, version="v3")
    return new


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


async def test_a_request_that_always_loses_leaves_no_manifest(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepared(plane)
    create = Store.create

    async def lose(store: Store, key: str, record: object) -> int:
        if key == release_key("team-a"):
            raise RevisionConflict("another was first")
        return await create(store, key, record)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "create", lose)
    with pytest.raises(RevisionConflict, match="try again"):
        await plane.control.releases.request("team-a", "v2")

    bucket = await plane.bus.jetstream().key_value("kubefox")
    assert not [key for key in await bucket.keys() if key.startswith("manifest.")]


@pytest.mark.parametrize("turns", range(12))
async def test_the_activator_ends_whatever_it_does(plane: Plane, turns: int) -> None:
    await prepared(plane)

    async with plane.control.activator:
        await plane.control.environments.put(
            Environment(name="dev", data=EnvironmentData(vars={"turn": turns}))
        )
        for _ in range(turns):
            await asyncio.sleep(0)
