"""Deploying: whole or not at all, and equal content changes nothing."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from broker.control.writes import Stored
from broker.store import Store
from model.component import ComponentVersion
from model.deployment import Deployment
from model.distill import Step
from model.errors import (
    BodyTooLarge,
    DeploymentNotFound,
    Immutable,
    InvalidBundle,
    InvalidRequest,
    NatsUnavailable,
    ProblemsFound,
    RevisionConflict,
)
from model.records import Record, deployment_key
from tests.support.control_plane import (
    Plane,
    component,
    deployment,
    from_commit,
    open_plane,
    pods_of,
)
from tests.support.nats import NatsServer

UI = component("order-ui", routes=["Path(`/{{.Vars.subPath}}/orders`)"], calls=["api-server"])
API = component("api-server", adapters=["state-store"])
API_V2 = component("api-server", "v2", adapters=["state-store"])


def problems_of(error: pytest.ExceptionInfo[ProblemsFound]) -> set[tuple[str, str]]:
    return {(problem.type, problem.path) for problem in error.value.problems}


async def test_a_deployment_can_be_read_as_soon_as_it_is_deployed(plane: Plane) -> None:
    await plane.deploy("order-app-v1", UI, API)

    [stored] = plane.control.deployments.all()
    assert stored.object.components == {"order-ui": UI.hash, "api-server": API.hash}
    assert stored.object.created_at_s > 0
    assert stored.revision == plane.store.snapshot.revision_of(deployment_key("order-app-v1"))
    assert plane.store.snapshot.component("order-app", "order-ui", UI.hash) == UI


async def test_deploying_equal_content_again_changes_nothing(plane: Plane) -> None:
    first = await plane.deploy("order-app-v1", UI, API)
    revision = plane.store.snapshot.revision

    again = await plane.deploy("order-app-v1", UI, API)

    assert again == first
    assert plane.store.snapshot.revision == revision


async def test_a_deployment_without_a_version_can_be_replaced(plane: Plane) -> None:
    first = await plane.deploy("main", UI, API)

    second = await plane.deploy("main", UI, API_V2)

    assert second.components["api-server"] == API_V2.hash
    assert second.created_at_s == first.created_at_s


async def test_the_source_of_a_deployment_without_a_version_follows_the_latest_deploy(
    plane: Plane,
) -> None:
    first = await plane.deploy("main", UI, API)

    stored = await plane.control.deployments.deploy(from_commit(first, "c" * 40), ())

    assert stored.object.source.commit == "c" * 40


async def test_other_content_under_a_versioned_name_is_refused(plane: Plane) -> None:
    await plane.deploy("v1", UI, API, version="v1")

    with pytest.raises(Immutable, match="version v1"):
        await plane.deploy("v1", UI, API_V2, version="v1")
    with pytest.raises(Immutable):
        await plane.deploy("v1", UI, API, version="v2")

    assert plane.control.deployments.get("v1").object.components["api-server"] == API.hash


async def test_equal_content_of_another_commit_leaves_a_versioned_deployment_alone(
    plane: Plane,
) -> None:
    first = await plane.deploy("v1", UI, API, version="v1")

    stored = await plane.control.deployments.deploy(from_commit(first, "d" * 40), ())

    assert stored.object == first


async def test_a_name_belongs_to_its_app(plane: Plane) -> None:
    await plane.deploy("main", UI, API)

    with pytest.raises(Immutable, match="belongs to app order-app"):
        await plane.deploy("main", component("web", app="shop"))


async def test_everything_that_is_wrong_is_reported_at_once(plane: Plane) -> None:
    lonely = component(
        "lonely",
        routes=["Path(`/x`"],
        calls=["nobody"],
        adapters=["mainframe"],
        crons=["61 * * * *", "@every 0s", "@every 5s", "*/5 * * * *"],
    )
    wanted = deployment("bad", lonely, API)

    with pytest.raises(ProblemsFound) as caught:
        await plane.control.deployments.deploy(wanted, [lonely])

    found = problems_of(caught)
    assert {
        ("BundleNotFound", "components.lonely"),
        ("BundleNotFound", "components.api-server"),
        ("ComponentNotFound", "components.api-server"),
        ("InvalidSchedule", "components.lonely.schedules[0].cron"),
        ("InvalidSchedule", "components.lonely.schedules[1].cron"),
        ("DependencyNotFound", "components.lonely.dependencies[0]"),
        ("AdapterNotFound", "components.lonely.dependencies[1]"),
    } <= found
    assert any(path == "components.lonely.routes[0].rule" for _, path in found)
    assert not any("schedules[2]" in path or "schedules[3]" in path for _, path in found)
    assert plane.store.snapshot.revision == 0


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Bad_Name"},
        {"app": "-"},
        {"components": {}},
        {"components": {"api-server": "not-a-hash"}},
        {"components": {"Api": API.hash}},
        {"version": ""},
        {"version": "v" * 64},
        {"version": "a\nb"},
    ],
)
async def test_what_is_malformed_is_refused(plane: Plane, change: dict[str, object]) -> None:
    wanted = msgspec.structs.replace(deployment("v1", API), **change)

    with pytest.raises(InvalidRequest):
        await plane.control.deployments.deploy(wanted, ())


@pytest.mark.parametrize("stranger", [component("api-server", app="shop"), API_V2, UI])
async def test_a_component_version_of_elsewhere_is_refused(
    plane: Plane, stranger: ComponentVersion
) -> None:
    with pytest.raises(InvalidRequest, match="is not part of"):
        await plane.control.deployments.deploy(deployment("v1", API), [stranger])


async def test_what_the_platform_knows_need_not_be_sent_again(plane: Plane) -> None:
    await plane.deploy("v1", UI, API)

    stored = await plane.control.deployments.deploy(deployment("again", UI, API), ())

    assert stored.object.components == {"order-ui": UI.hash, "api-server": API.hash}


async def test_a_plan_tells_what_is_new_and_what_was_not_uploaded(plane: Plane) -> None:
    await plane.deploy("v1", UI, API)

    plan = await plane.control.deployments.plan(
        "v2", "order-app", {"order-ui": UI.hash, "api-server": API_V2.hash}
    )

    assert {(each.component, each.step) for each in plan.components} == {
        ("order-ui", Step.REUSED),
        ("api-server", Step.NEW),
    }
    assert plan.missing_bundles == (API_V2.hash,)


async def test_a_plan_without_components_is_of_an_undeployment(plane: Plane) -> None:
    await plane.deploy("v1", UI, API)

    plan = await plane.control.deployments.plan("v1", "order-app", {})

    assert plan.count(Step.NO_LONGER_USED) == 2


@pytest.mark.parametrize(
    ("app", "components", "version"),
    [
        ("order-app", {"api-server": API_V2.hash}, "v1"),
        ("order-app", {"api-server": API.hash}, "v2"),
        ("order-app", {"api-server": API.hash}, None),
        ("shop", {"api-server": API.hash}, "v1"),
    ],
)
async def test_a_plan_is_refused_where_its_deployment_will_be(
    plane: Plane, app: str, components: dict[str, str], version: str | None
) -> None:
    await plane.deploy("v1", API, version="v1")
    wanted = Deployment(name="v1", app=app, components=components, version=version)

    with pytest.raises(Immutable) as planned:
        await plane.control.deployments.plan("v1", app, components, version)
    with pytest.raises(Immutable) as deployed:
        await plane.control.deployments.deploy(wanted, ())

    assert planned.value.detail == deployed.value.detail


async def test_equal_content_of_a_versioned_deployment_can_be_planned(plane: Plane) -> None:
    await plane.deploy("v1", API, version="v1")

    plan = await plane.control.deployments.plan("v1", "order-app", {"api-server": API.hash}, "v1")

    assert plan.count(Step.REUSED) == 1


async def test_an_undeployed_deployment_is_gone_when_the_call_returns(plane: Plane) -> None:
    await plane.deploy("v1", UI, API)

    await plane.control.deployments.undeploy("v1")

    assert plane.control.deployments.all() == ()
    with pytest.raises(DeploymentNotFound):
        plane.control.deployments.get("v1")
    with pytest.raises(DeploymentNotFound):
        await plane.control.deployments.undeploy("v1")


async def test_a_deployment_can_come_back_after_it_was_undeployed(plane: Plane) -> None:
    await plane.deploy("v1", UI, API)
    await plane.control.deployments.undeploy("v1")

    await plane.deploy("v1", API_V2)

    assert plane.control.deployments.get("v1").object.components == {"api-server": API_V2.hash}


@pytest.mark.parametrize("is_ready", [True, False])
async def test_a_released_deployment_is_not_undeployed(plane: Plane, is_ready: bool) -> None:
    await plane.environments("team-a")
    await plane.deploy("v1", UI, API, version="v1")
    if is_ready:
        await plane.publish(*pods_of(UI, API))
    await plane.control.releases.request("team-a", "v1")

    with pytest.raises(Immutable, match="team-a"):
        await plane.control.deployments.undeploy("v1")


async def test_two_that_deploy_at_once_do_so_one_after_the_other(
    own_nats_server: NatsServer,
) -> None:
    async with (
        open_plane(own_nats_server.url, "one") as one,
        open_plane(own_nats_server.url, "two") as two,
    ):
        results = await asyncio.gather(
            one.deploy("main", API), two.deploy("main", API_V2), two.deploy("main", API)
        )

        await one.store.wait_beyond(two.store.revision - 1)
        assert one.control.deployments.get("main").object in results
        assert two.control.deployments.get("main") == one.control.deployments.get("main")


async def test_of_two_that_have_seen_nothing_one_is_told_that_there_is_something(
    own_nats_server: NatsServer,
) -> None:
    async with (
        open_plane(own_nats_server.url, "one") as one,
        open_plane(own_nats_server.url, "two") as two,
    ):
        for each in (API, API_V2):
            await one.control.bundles.put(each.hash, b"code")

        results = await asyncio.gather(
            one.control.deployments.deploy(deployment("main", API), [API], if_match=0),
            two.control.deployments.deploy(deployment("main", API_V2), [API_V2], if_match=0),
            return_exceptions=True,
        )

        assert sum(isinstance(each, RevisionConflict) for each in results) == 1
        assert sum(isinstance(each, Stored) for each in results) == 1


async def test_two_that_deploy_equal_content_at_once_both_succeed(
    own_nats_server: NatsServer,
) -> None:
    async with (
        open_plane(own_nats_server.url, "one") as one,
        open_plane(own_nats_server.url, "two") as two,
    ):
        first, second = await asyncio.gather(one.deploy("main", API), two.deploy("main", API))

        assert first == second


async def test_nats_cut_in_the_middle_of_a_deploy_leaves_nothing_half_written(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Store.put

    async with open_plane(own_nats_server.url) as plane:

        async def put_one_and_cut(store: Store, key: str, record: Record, since: int) -> int:
            revision = await put(store, key, record, since)
            await asyncio.to_thread(own_nats_server.kill)
            await plane.wait_disconnected()
            return revision

        for each in (UI, API):
            await plane.control.bundles.put(each.hash, b"code")
        monkeypatch.setattr(Store, "put", put_one_and_cut)
        with pytest.raises(NatsUnavailable):
            await plane.control.deployments.deploy(deployment("v1", UI, API), [UI, API])
        monkeypatch.undo()
        await asyncio.to_thread(own_nats_server.start)

    async with open_plane(own_nats_server.url, "later") as later:
        assert later.control.deployments.all() == ()
        assert later.store.snapshot.component("order-app", "order-ui", UI.hash) == UI
        await later.deploy("v1", UI, API)
        assert later.control.deployments.get("v1").object.components.keys() == {
            "order-ui",
            "api-server",
        }


async def test_an_uploaded_bundle_must_hash_to_its_name(plane: Plane) -> None:
    digest = await plane.upload("api-server")
    content = await plane.control.bundles.get(digest)

    with pytest.raises(ProblemsFound, match="hashes to"):
        await plane.control.upload("0" * 32, content)
    with pytest.raises(InvalidRequest, match="hexadecimal"):
        await plane.control.upload("latest", content)

    assert [each.hash for each in await plane.control.bundles.held()] == [digest]


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"\x1f\x8b\x08\x00" + b"\0" * 40])
async def test_garbage_is_no_bundle(plane: Plane, garbage: bytes) -> None:
    with pytest.raises((InvalidBundle, BodyTooLarge)):
        await plane.control.upload("0" * 32, garbage)

    assert await plane.control.bundles.held() == ()
