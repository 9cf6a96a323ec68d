"""A deploy warns of variables that virtual environments of its app lack."""

from __future__ import annotations

import pytest

from control.rollouts import StoredDeployment
from kubefox.environment import Environment, EnvironmentData, VirtualEnvironment
from tests.control.releasing import API, UI
from tests.support.control_plane import Plane, component, deployment, listed, pods_of

NEEDY = component("order-ui", "needy", calls=["api-server"], variables=["token", "subPath"])


async def warnings(plane: Plane, name: str = "main") -> list[str]:
    for version in (NEEDY, API):
        await plane.control.bundles.put(version.hash, b"code")
    stored = await plane.control.deployments.deploy(deployment(name, NEEDY, API), [NEEDY, API])
    assert (await plane.control.deployments.get(name)).warnings == stored.warnings
    return [problem.message for problem in stored.warnings]


async def test_a_small_platform_without_a_release_of_the_app_is_checked_whole(plane: Plane) -> None:
    await plane.environments("team-a", "team-b")

    assert await warnings(plane) == [
        "order-ui requires variable token, which is not set in virtual environment team-a, team-b"
    ]

    dev = Environment(name="dev", data=EnvironmentData(vars={"token": "x"}))
    await plane.control.environments.put(dev)
    assert await warnings(plane) == []


@pytest.mark.parametrize("is_pending", [True, False])
async def test_with_a_release_its_environment_is_checked(plane: Plane, *, is_pending: bool) -> None:
    await plane.environments("team-a", "team-b")
    await plane.control.environments.put(Environment(name="other"))
    await plane.control.environments.put(VirtualEnvironment(name="x", environment="other"))
    await plane.deploy("v1", UI, API, version="v1")
    if not is_pending:
        await plane.publish(*pods_of(UI, API))
    await plane.control.releases.request("team-a", "v1")

    (message,) = await warnings(plane)

    assert message.endswith("not set in virtual environment team-a, team-b")


async def test_a_large_platform_without_a_release_of_the_app_is_not_checked(plane: Plane) -> None:
    await plane.environments(*(f"team-{number}" for number in range(11)))

    assert await warnings(plane) == []


async def test_a_plan_warns_of_what_new_versions_need(plane: Plane) -> None:
    await plane.environments("team-a")
    hashes = {NEEDY.name: NEEDY.hash, API.name: API.hash}
    definitions = {NEEDY.name: NEEDY.definition, "unknown": API.definition}
    deployments = plane.control.deployments

    unknown = await deployments.plan("main", NEEDY.app, hashes)
    planned = await deployments.plan("main", NEEDY.app, hashes, definitions=definitions)

    assert unknown.warnings == ()
    messages = [problem.message for problem in planned.warnings]
    assert messages == await warnings(plane)
    assert len(messages) == 1
    assert (await deployments.plan("main", NEEDY.app, hashes)).warnings == planned.warnings


async def test_a_rollout_warns_of_what_its_new_content_needs(plane: Plane) -> None:
    await plane.environments("team-a")
    await plane.deploy("main", UI, API)
    assert (await plane.control.deployments.get("main")).warnings == ()

    assert len(await warnings(plane)) == 1
    assert (await listed(plane.control.lists.deployments, StoredDeployment))[0].warnings == ()
