"""Values that an active release of policy Testing is served by: not taken away unnoticed."""

from __future__ import annotations

import pytest

from broker.control.secrets import EnvironmentObject
from model.component import Value
from model.environment import (
    Environment,
    EnvironmentData,
    HTTPAdapter,
    PolicyType,
    ReleasePolicy,
    VirtualEnvironment,
)
from model.errors import ProblemsFound
from tests.broker.control.releasing import UI, active_of
from tests.support.control_plane import Plane, component, pods_of

TESTING = ReleasePolicy(type=PolicyType.TESTING)
API = component("api-server", variables=["greeting"])
DEV = Environment(
    name="dev", data=EnvironmentData(vars={"greeting": "Moin"}), release_policy=TESTING
)
TEAM = VirtualEnvironment(
    name="team-a", environment="dev", data=EnvironmentData(vars={"subPath": "team-a"})
)
BARE_DEV = Environment(name="dev", release_policy=TESTING)
BARE_TEAM = VirtualEnvironment(name="team-a", environment="dev")


async def released(plane: Plane) -> None:
    """Release order-app with live values in team-a."""
    await plane.control.environments.put(DEV)
    await plane.control.environments.put(TEAM)
    await plane.deploy("main", UI, API)
    await plane.publish(*pods_of(UI, API))
    await plane.control.releases.request("team-a", "main")
    assert active_of(plane) == {"order-app": "main"}


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (BARE_DEV, "components.api-server.variables.greeting"),
        (BARE_TEAM, "components.order-ui.routes[0].rule"),
        (
            VirtualEnvironment(
                name="team-a", environment="dev", data=EnvironmentData(vars={"subPath": []})
            ),
            "components.order-ui.routes[0].rule",
        ),
    ],
)
async def test_what_a_release_needs_is_taken_away_by_force_only(
    plane: Plane, record: EnvironmentObject, place: str
) -> None:
    await released(plane)
    before = plane.store.snapshot.revision

    with pytest.raises(ProblemsFound, match="force writes it") as caught:
        await plane.control.environments.put(record)

    assert [each.path for each in caught.value.problems] == [
        f"releases.team-a.apps.order-app.{place}"
    ]
    assert plane.store.snapshot.revision == before
    await plane.control.environments.put(record, force=True)
    assert plane.control.environments.get(type(record), record.name).object == record


async def test_what_is_broken_already_keeps_nobody_from_other_changes(plane: Plane) -> None:
    await released(plane)
    await plane.control.environments.put(BARE_TEAM, force=True)

    data = EnvironmentData(vars={"colour": "green"})
    await plane.control.environments.put(
        VirtualEnvironment(name="team-a", environment="dev", data=data)
    )
    with pytest.raises(ProblemsFound) as caught:
        await plane.control.environments.put(BARE_DEV)

    assert [each.type for each in caught.value.problems] == ["VariableNotFound"]
    assert "greeting" in caught.value.problems[0].message


@pytest.mark.parametrize(
    "record",
    [
        Environment(
            name="dev",
            data=EnvironmentData(vars={"greeting": "Hej", "subPath": "dev"}),
            release_policy=TESTING,
        ),
        VirtualEnvironment(
            name="team-a", environment="dev", data=EnvironmentData(vars={"subPath": ["a", "b"]})
        ),
        Environment(name="prod"),
        VirtualEnvironment(name="team-b", environment="dev"),
        HTTPAdapter(name="dev", url="https://mail.example"),
    ],
)
async def test_what_leaves_the_release_whole_is_written(
    plane: Plane, record: EnvironmentObject
) -> None:
    await released(plane)

    stored = await plane.control.environments.put(record)

    assert stored.object == record


async def test_what_a_stable_release_froze_may_go(plane: Plane) -> None:
    await plane.environments("team-a")
    await plane.deploy("v1", UI, component("api-server"), version="v1")
    await plane.publish(*pods_of(UI, component("api-server")))
    await plane.control.releases.request("team-a", "v1")

    await plane.control.environments.put(BARE_TEAM)

    assert active_of(plane) == {"order-app": "v1"}


async def test_code_that_needs_what_a_live_release_lacks_is_refused(plane: Plane) -> None:
    await released(plane)
    more = component("api-server", "v2", variables=["greeting", "farewell"])
    other = component("order-ui", "v2", routes=["Path(`/{{.Vars.elsewhere}}`)"])

    with pytest.raises(ProblemsFound) as refused:
        await plane.deploy("main", other, more)

    assert [each.path for each in refused.value.problems] == [
        "releases.team-a.components.api-server.variables.farewell",
        "releases.team-a.components.order-ui.routes[0].rule",
    ]
    assert plane.control.deployments.get("main").object.components["api-server"] == API.hash

    await plane.deploy("next", other, more)
    values: dict[str, Value] = {"greeting": "Moin", "farewell": "Tschüs", "elsewhere": "there"}
    await plane.control.environments.put(
        Environment(name="dev", data=EnvironmentData(vars=values), release_policy=TESTING)
    )
    await plane.deploy("main", other, more)


async def test_code_may_lack_what_it_lacked_before(plane: Plane) -> None:
    await released(plane)
    await plane.control.environments.put(BARE_DEV, force=True)

    await plane.deploy("main", UI, component("api-server", "v2", variables=["greeting"]))
