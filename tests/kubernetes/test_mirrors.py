"""Deployments and release manifests as read-only resources on a real API."""

from __future__ import annotations

from pathlib import Path

from kubefox.status import CheckState
from tests.control.releasing import API, UI, deploy_apps, deploy_v3
from tests.kubernetes.resources import Applying, Object, Resources, conditions, environment
from tests.support.control_plane import Plane


def components(found: Object | None) -> Object:
    shown: Object = found["spec"]["components"] if found else {}
    return shown


async def test_a_deployment_is_shown_until_it_is_undeployed(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await plane.deploy("order-app-v1", UI, API, version="v1")
    await resources.wait_condition("appdep", "order-app-v1", "Ready", "Deployed")
    shown = await resources.get("appdep", "order-app-v1")

    await plane.control.deployments.undeploy("order-app-v1")
    await resources.wait_gone("appdep", "order-app-v1")

    assert shown is not None
    assert (shown["spec"]["app"], shown["spec"]["version"]) == ("order-app", "v1")
    assert components(shown) == {"order-ui": UI.hash, "api-server": API.hash}


async def test_a_manifest_is_shown_with_the_state_of_its_release(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await deploy_apps(plane)
    request = plane.control.releases.request
    first = (await request("team-a", "order-app-v1")).object.active
    await deploy_v3(plane)
    second = (await request("team-a", "order-app-v3")).object.pending
    assert first is not None
    assert second is not None

    await resources.wait_condition("relman", f"team-a-{first.id}", "Ready", "Active")
    await resources.wait_condition("relman", f"team-a-{second.id}", "Ready", "Pending")
    await plane.control.releases.abort("team-a")
    await resources.wait_condition("relman", f"team-a-{second.id}", "Ready", "Archived")
    shown = await resources.get("relman", f"team-a-{first.id}")

    assert shown is not None
    assert shown["spec"] == {
        "virtualEnvironment": "team-a",
        "release": first.id,
        "apps": {"order-app": {"appDeployment": "order-app-v1", "version": "v1"}},
    }


async def test_what_others_change_is_undone_a_few_times_and_then_told(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await plane.deploy("order-app-v1", UI, API, version="v1")
    await resources.wait_condition("appdep", "order-app-v1", "Ready", "Deployed")
    right = {"order-ui": UI.hash, "api-server": API.hash}

    patch = '--patch={"spec":{"components":{"extra":"x"},"app":"other"}}'
    for _ in range(2):
        await resources.kubectl("patch", "appdep", "order-app-v1", "--type=merge", patch)
        await resources.wait("appdep", "order-app-v1", lambda found: components(found) == right)
    await resources.kubectl("delete", "appdep", "order-app-v1")
    await resources.wait("appdep", "order-app-v1", lambda found: components(found) == right)
    await resources.kubectl("patch", "appdep", "order-app-v1", "--type=merge", patch)
    await applying.wait_check("1 of them not synced: AppDeployment order-app-v1")
    left = await resources.get("appdep", "order-app-v1")

    assert left is not None
    assert left["spec"]["app"] == "other"


async def test_a_resource_that_others_have_made_is_left_alone_and_told(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await plane.deploy("order-app-v1", UI, API, version="v1")
    await resources.wait_condition("appdep", "order-app-v1", "Ready", "Deployed")
    own = await resources.get("appdep", "order-app-v1")
    assert own is not None
    foreign = {**own, "metadata": {"name": "invented"}}

    await resources.apply(foreign)
    await applying.wait_check("1 of them not synced: AppDeployment invented")

    assert await resources.get("appdep", "invented") is not None


async def test_a_resource_does_not_wait_for_the_mirrors_of_many_deployments(
    resources: Resources, plane: Plane, leases: None, tmp_path: Path
) -> None:
    for number in range(200):
        await plane.deploy(f"order-app-v{number}", UI, API, version=f"v{number}")
    await resources.apply(environment())

    async with resources.applied(plane, tmp_path / "audit") as applying:
        await resources.wait_condition("environment", "dev", "Synced", "Applied")
        early = (await applying.controller.check()).detail
        await applying.wait_check("1 applied from the cluster, 200 shown there", CheckState.OK)

    assert "200 shown there" not in early


async def test_mirrors_catch_up_with_what_changed_while_nobody_wrote_them(
    resources: Resources, plane: Plane, leases: None, tmp_path: Path
) -> None:
    async with resources.applied(plane, tmp_path / "audit"):
        await plane.deploy("order-app-v1", UI, API, version="v1")
        await resources.wait_condition("appdep", "order-app-v1", "Ready", "Deployed")
    await plane.control.deployments.undeploy("order-app-v1")
    await plane.deploy("order-app-v2", UI, API, version="v2")

    async with resources.applied(plane, tmp_path / "audit"):
        await resources.wait_condition("appdep", "order-app-v2", "Ready", "Deployed")
        await resources.wait_gone("appdep", "order-app-v1")
    found = await resources.get("appdep", "order-app-v2")

    assert found is not None
    assert conditions(found)["Synced"]["reason"] == "Mirrored"
