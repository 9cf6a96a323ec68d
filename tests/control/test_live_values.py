"""Changes that would break an active release of policy Testing, which uses live values."""

from __future__ import annotations

import asyncio

import pytest

from broker.storage import store as stores
from broker.storage.store import Store
from control.secret_masks import EnvironmentObject
from kubefox.component import Value
from kubefox.environment import (
    Environment,
    EnvironmentData,
    HTTPAdapter,
    PolicyType,
    ReleasePolicy,
    VirtualEnvironment,
)
from kubefox.errors import ProblemsFound
from tests.control.releasing import UI, active_of
from tests.support.control_plane import Plane, component, open_plane, pods_of
from tests.support.nats import NatsServer

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


async def release_live(plane: Plane) -> None:
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
async def test_values_of_a_live_release_are_removed_only_by_force(
    plane: Plane, record: EnvironmentObject, place: str
) -> None:
    await release_live(plane)
    before = plane.store.snapshot.revision

    with pytest.raises(ProblemsFound, match="would break active releases") as caught:
        await plane.control.environments.put(record)

    assert [problem.path for problem in caught.value.problems] == [
        f"releases.team-a.apps.order-app.{place}"
    ]
    assert plane.store.snapshot.revision == before
    await plane.control.environments.put(record, force=True)
    assert plane.control.environments.get(type(record), record.name).object == record


async def test_a_broken_release_does_not_block_other_changes(plane: Plane) -> None:
    await release_live(plane)
    await plane.control.environments.put(BARE_TEAM, force=True)

    data = EnvironmentData(vars={"colour": "green"})
    await plane.control.environments.put(
        VirtualEnvironment(name="team-a", environment="dev", data=data)
    )
    with pytest.raises(ProblemsFound) as caught:
        await plane.control.environments.put(BARE_DEV)

    assert [problem.type for problem in caught.value.problems] == ["VariableNotFound"]
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
async def test_a_change_that_breaks_nothing_is_written(
    plane: Plane, record: EnvironmentObject
) -> None:
    await release_live(plane)

    stored = await plane.control.environments.put(record)

    assert stored.object == record


async def test_values_of_a_stable_release_may_be_removed(plane: Plane) -> None:
    await plane.environments("team-a")
    await plane.deploy("v1", UI, component("api-server"), version="v1")
    await plane.publish(*pods_of(UI, component("api-server")))
    await plane.control.releases.request("team-a", "v1")

    await plane.control.environments.put(BARE_TEAM)

    assert active_of(plane) == {"order-app": "v1"}


async def test_code_that_needs_a_missing_variable_is_refused(plane: Plane) -> None:
    await release_live(plane)
    more = component("api-server", "v2", variables=["greeting", "farewell"])
    other = component("order-ui", "v2", routes=["Path(`/{{.Vars.elsewhere}}`)"])

    with pytest.raises(ProblemsFound) as refused:
        await plane.deploy("main", other, more)

    assert [problem.path for problem in refused.value.problems] == [
        "releases.team-a.components.api-server.variables.farewell",
        "releases.team-a.components.order-ui.routes[0].rule",
    ]
    assert (await plane.control.deployments.get("main")).object.components["api-server"] == API.hash

    await plane.deploy("next", other, more)
    values: dict[str, Value] = {"greeting": "Moin", "farewell": "Tschüs", "elsewhere": "x"}
    await plane.control.environments.put(
        Environment(name="dev", data=EnvironmentData(vars=values), release_policy=TESTING)
    )
    await plane.deploy("main", other, more)


async def test_code_may_need_a_variable_that_was_missing_before(plane: Plane) -> None:
    await release_live(plane)
    await plane.control.environments.put(BARE_DEV, force=True)

    await plane.deploy("main", UI, component("api-server", "v2", variables=["greeting"]))


async def test_a_write_does_not_wait_until_all_releases_follow_an_environment(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, refresh = asyncio.Event(), Store.refresh_behind

    async def refresh_later(store: Store) -> None:
        await go_on.wait()
        await refresh(store)

    monkeypatch.setattr(Store, "refresh_behind", refresh_later)
    monkeypatch.setattr(stores, "AT_ONCE", 0)
    async with open_plane(own_nats_server.url) as plane:
        await change_a_used_value(plane, go_on)


async def change_a_used_value(plane: Plane, go_on: asyncio.Event) -> None:
    values = EnvironmentData(vars={"greeting": "Moin", "subPath": "one"})
    environments = plane.control.environments
    await release_live(plane)
    await environments.put(Environment(name="dev", data=values, release_policy=TESTING))
    await environments.put(BARE_TEAM)
    changed = EnvironmentData(vars={"greeting": "Moin", "subPath": "two"})
    record = Environment(name="dev", data=changed, release_policy=TESTING)

    changing = asyncio.create_task(environments.put(record))
    await plane.wait_data(lambda: bool(plane.store.snapshot.release_index.behind))
    await environments.put(VirtualEnvironment(name="team-b", environment="dev"))

    assert not changing.done()
    go_on.set()
    await changing
    assert not plane.store.snapshot.release_index.behind
