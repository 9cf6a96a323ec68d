"""Deploying, planning and undeploying."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from broker.storage.store import Store
from control.rollouts import StoredDeployment
from control.stored_record import StoredRecord
from kubefox.component import ComponentVersion
from kubefox.deployment import Deployment
from kubefox.distill import Step
from kubefox.errors import (
    BodyTooLarge,
    DeploymentNotFound,
    Immutable,
    InUse,
    InvalidBundle,
    InvalidRequest,
    NatsUnavailable,
    ProblemsFound,
    RevisionConflict,
)
from kubefox.formats import MAX_COMPONENTS
from kubefox.records import Record, deployment_key
from tests.support.control_plane import (
    Plane,
    component,
    deployment,
    from_commit,
    listed,
    open_plane,
    pods_of,
)
from tests.support.nats import NatsServer

UI = component("order-ui", routes=["Path(`/{{.Vars.subPath}}/orders`)"], calls=["api-server"])
API = component("api-server", adapters=["state-store"])
API_V2 = component("api-server", "v2", adapters=["state-store"])


def problems_of(error: pytest.ExceptionInfo[ProblemsFound]) -> set[tuple[str, str]]:
    return {(problem.type, problem.path) for problem in error.value.problems}


async def test_a_deployment_is_visible_when_deploy_returns(plane: Plane) -> None:
    await plane.deploy("order-app-v1", UI, API)

    [stored] = await listed(plane.control.lists.deployments, StoredDeployment)
    assert stored.object.components == {"order-ui": UI.hash, "api-server": API.hash}
    assert stored.object.created_at_s > 0
    assert stored.revision == plane.store.snapshot.revision_of(deployment_key("order-app-v1"))
    assert plane.store.snapshot.component("order-app", "order-ui", UI.hash) == UI


async def test_deploying_equal_content_changes_nothing(plane: Plane) -> None:
    first = await plane.deploy("order-app-v1", UI, API)
    revision = plane.store.snapshot.revision

    again = await plane.deploy("order-app-v1", UI, API)

    assert again == first
    assert plane.store.snapshot.revision == revision


async def test_a_mutable_deployment_can_be_replaced(plane: Plane) -> None:
    first = await plane.deploy("main", UI, API)
    await plane.publish(*pods_of(UI, API_V2))

    second = await plane.deploy("main", UI, API_V2)

    assert second.components["api-server"] == API_V2.hash
    assert second.created_at_s == first.created_at_s
    assert (first.generation, second.generation) == (1, 2)
    assert second.activated_at_s >= first.activated_at_s > 0


async def test_a_mutable_deployment_gets_the_source_of_the_latest_deploy(
    plane: Plane,
) -> None:
    first = await plane.deploy("main", UI, API)

    stored = await plane.control.deployments.deploy(from_commit(first, "c" * 40), ())

    assert stored.object.source.commit == "c" * 40


async def test_an_immutable_deployment_cannot_be_replaced(plane: Plane) -> None:
    await plane.deploy("v1", UI, API, version="v1")

    with pytest.raises(Immutable, match="version v1"):
        await plane.deploy("v1", UI, API_V2, version="v1")
    with pytest.raises(Immutable):
        await plane.deploy("v1", UI, API, version="v2")

    assert (await plane.control.deployments.get("v1")).object.components["api-server"] == API.hash


async def test_an_immutable_deployment_keeps_its_source(
    plane: Plane,
) -> None:
    first = await plane.deploy("v1", UI, API, version="v1")

    stored = await plane.control.deployments.deploy(from_commit(first, "d" * 40), ())

    assert stored.object == first


async def test_a_deployment_name_belongs_to_one_app(plane: Plane) -> None:
    await plane.deploy("main", UI, API)

    with pytest.raises(Immutable, match="belongs to app order-app"):
        await plane.deploy("main", component("web", app="shop"))


async def test_all_problems_are_reported_at_once(plane: Plane) -> None:
    lonely = component(
        "lonely",
        routes=["Path(`/x`"],
        calls=["missing"],
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
async def test_a_malformed_deployment_is_refused(plane: Plane, change: dict[str, object]) -> None:
    wanted = msgspec.structs.replace(deployment("v1", API), **change)

    with pytest.raises(InvalidRequest):
        await plane.control.deployments.deploy(wanted, ())


@pytest.mark.parametrize("other", [component("api-server", app="shop"), API_V2, UI])
async def test_a_component_version_of_another_deployment_is_refused(
    plane: Plane, other: ComponentVersion
) -> None:
    with pytest.raises(InvalidRequest, match="is not part of"):
        await plane.control.deployments.deploy(deployment("v1", API), [other])


async def test_stored_component_versions_may_be_omitted(plane: Plane) -> None:
    await plane.deploy("v1", UI, API)

    stored = await plane.control.deployments.deploy(deployment("again", UI, API), ())

    assert stored.object.components == {"order-ui": UI.hash, "api-server": API.hash}


async def test_a_plan_lists_new_components_and_missing_bundles(plane: Plane) -> None:
    await plane.deploy("v1", UI, API)

    plan = await plane.control.deployments.plan(
        "v2", "order-app", {"order-ui": UI.hash, "api-server": API_V2.hash}
    )

    assert {(component.component, component.step) for component in plan.components} == {
        ("order-ui", Step.REUSED),
        ("api-server", Step.NEW),
    }
    assert plan.missing_bundles == (API_V2.hash,)


async def test_a_plan_without_components_plans_an_undeployment(plane: Plane) -> None:
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
async def test_a_plan_is_refused_like_its_deployment(
    plane: Plane, app: str, components: dict[str, str], version: str | None
) -> None:
    await plane.deploy("v1", API, version="v1")
    wanted = Deployment(name="v1", app=app, components=components, version=version)

    with pytest.raises(Immutable) as planned:
        await plane.control.deployments.plan("v1", app, components, version)
    with pytest.raises(Immutable) as deployed:
        await plane.control.deployments.deploy(wanted, ())

    assert planned.value.detail == deployed.value.detail


async def test_a_plan_and_a_deployment_of_too_many_components_are_refused(plane: Plane) -> None:
    hashes = {f"c{number}": API.hash for number in range(MAX_COMPONENTS + 1)}
    wanted = Deployment(name="v1", app="order-app", components=hashes)

    with pytest.raises(ProblemsFound, match=str(MAX_COMPONENTS)) as planned:
        await plane.control.deployments.plan("v1", "order-app", hashes)
    with pytest.raises(ProblemsFound) as deployed:
        await plane.control.deployments.deploy(wanted, ())
    with pytest.raises(ProblemsFound):
        await plane.deploy("v1", *[API] * (MAX_COMPONENTS + 1))

    assert problems_of(planned) == problems_of(deployed) == {("TooManyComponents", "components")}


async def test_equal_content_of_an_immutable_deployment_can_be_planned(plane: Plane) -> None:
    await plane.deploy("v1", API, version="v1")

    plan = await plane.control.deployments.plan("v1", "order-app", {"api-server": API.hash}, "v1")

    assert plan.count(Step.REUSED) == 1


async def test_a_deployment_is_no_longer_visible_when_undeploy_returns(plane: Plane) -> None:
    await plane.deploy("v1", UI, API)

    await plane.control.deployments.undeploy("v1")

    assert not plane.store.snapshot.deployments
    with pytest.raises(DeploymentNotFound):
        await plane.control.deployments.get("v1")
    with pytest.raises(DeploymentNotFound):
        await plane.control.deployments.undeploy("v1")


async def test_a_name_can_be_deployed_again_after_undeploy(plane: Plane) -> None:
    await plane.deploy("v1", UI, API)
    await plane.control.deployments.undeploy("v1")

    await plane.deploy("v1", API_V2)

    assert (await plane.control.deployments.get("v1")).object.components == {
        "api-server": API_V2.hash
    }


@pytest.mark.parametrize("is_ready", [True, False])
async def test_a_released_deployment_cannot_be_undeployed(plane: Plane, is_ready: bool) -> None:
    await plane.environments("team-a")
    await plane.deploy("v1", UI, API, version="v1")
    if is_ready:
        await plane.publish(*pods_of(UI, API))
    await plane.control.releases.request("team-a", "v1")

    with pytest.raises(InUse, match="team-a"):
        await plane.control.deployments.undeploy("v1")


async def test_concurrent_deploys_run_one_after_the_other(
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
        assert (await one.control.deployments.get("main")).object in results
        assert (await two.control.deployments.get("main")) == await one.control.deployments.get(
            "main"
        )


async def test_of_two_concurrent_creations_one_gets_a_revision_conflict(
    own_nats_server: NatsServer,
) -> None:
    async with (
        open_plane(own_nats_server.url, "one") as one,
        open_plane(own_nats_server.url, "two") as two,
    ):
        for version in (API, API_V2):
            await one.control.bundles.put(version.hash, b"code")

        results = await asyncio.gather(
            one.control.deployments.deploy(deployment("main", API), [API], if_match=0),
            two.control.deployments.deploy(deployment("main", API_V2), [API_V2], if_match=0),
            return_exceptions=True,
        )

        assert sum(isinstance(result, RevisionConflict) for result in results) == 1
        assert sum(isinstance(result, StoredRecord) for result in results) == 1


async def test_concurrent_deploys_of_equal_content_succeed(
    own_nats_server: NatsServer,
) -> None:
    async with (
        open_plane(own_nats_server.url, "one") as one,
        open_plane(own_nats_server.url, "two") as two,
    ):
        first, second = await asyncio.gather(one.deploy("main", API), two.deploy("main", API))

        assert first == second


async def test_a_deploy_that_loses_nats_leaves_no_incomplete_deployment(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Store.put

    async with open_plane(own_nats_server.url) as plane:

        async def put_one_and_cut(store: Store, key: str, record: Record, since: int) -> int:
            revision = await put(store, key, record, since)
            await asyncio.to_thread(own_nats_server.kill)
            await plane.wait_disconnected()
            return revision

        for version in (UI, API):
            await plane.control.bundles.put(version.hash, b"code")
        monkeypatch.setattr(Store, "put", put_one_and_cut)
        with pytest.raises(NatsUnavailable):
            await plane.control.deployments.deploy(deployment("v1", UI, API), [UI, API])
        monkeypatch.undo()
        await asyncio.to_thread(own_nats_server.start)

    async with open_plane(own_nats_server.url, "later") as later:
        assert not later.store.snapshot.deployments
        assert later.store.snapshot.component("order-app", "order-ui", UI.hash) == UI
        await later.deploy("v1", UI, API)
        assert (await later.control.deployments.get("v1")).object.components.keys() == {
            "order-ui",
            "api-server",
        }


async def test_an_uploaded_bundle_must_have_the_hash_of_its_path(plane: Plane) -> None:
    digest = await plane.upload("api-server")
    content = await plane.control.bundles.get(digest)

    with pytest.raises(ProblemsFound, match="expected"):
        await plane.control.upload("0" * 32, content)
    with pytest.raises(InvalidRequest, match="hexadecimal"):
        await plane.control.upload("latest", content)

    assert [stored.hash for stored in await plane.control.bundles.all()] == [digest]


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"\x1f\x8b\x08\x00" + b"\0" * 40])
async def test_an_unreadable_bundle_is_refused(plane: Plane, garbage: bytes) -> None:
    with pytest.raises((InvalidBundle, BodyTooLarge)):
        await plane.control.upload("0" * 32, garbage)

    assert await plane.control.bundles.all() == ()
