"""The check of an environment's new values looks at the releases that they concern, and at others
again only if they have changed."""

from __future__ import annotations

import asyncio

import pytest

from control.breaking_changes import ValueCheck
from control.release_contents import live_contents
from kubefox.component import Value
from kubefox.environment import Environment, EnvironmentData, VirtualEnvironment, overlay
from kubefox.errors import ProblemsFound
from kubefox.steps import finish
from routing.validate import use_problems
from tests.control.test_live_values import API, BARE_DEV, DEV, TEAM, TESTING, release_live
from tests.support.control_plane import Plane, component, pods_of

TEAMS = ("team-b", "team-c", "team-d")


async def release_everywhere(plane: Plane) -> None:
    """Release order-app with live values in team-a and in ``TEAMS``; team-d greets by itself."""
    await release_live(plane)
    for name in TEAMS:
        own = {"greeting": "Servus"} if name == "team-d" else {}
        data = EnvironmentData(vars={"subPath": name, **own})
        await plane.control.environments.put(
            VirtualEnvironment(name=name, environment="dev", data=data)
        )
        await plane.control.releases.request(name, "main")


async def test_a_variable_that_nothing_uses_concerns_no_release(plane: Plane) -> None:
    await release_everywhere(plane)
    changed = Environment(
        name="dev", data=EnvironmentData(vars={**DEV.data.vars, "new": "x"}), release_policy=TESTING
    )
    check = ValueCheck(changed, plane.store)

    assert await check.problems() == ()

    assert check.checked == 0


async def test_a_used_variable_concerns_the_releases_that_inherit_it(plane: Plane) -> None:
    await release_everywhere(plane)
    check = ValueCheck(BARE_DEV, plane.store)

    problems = await check.problems()

    place = "apps.order-app.components.api-server.variables.greeting"
    assert sorted(problem.path for problem in problems) == [
        f"releases.{name}.{place}" for name in ("team-a", "team-b", "team-c")
    ]
    assert check.checked == 3


async def test_a_check_that_is_repeated_looks_again_only_at_what_has_changed(plane: Plane) -> None:
    await release_everywhere(plane)
    check = ValueCheck(BARE_DEV, plane.store)
    await check.problems()

    own = EnvironmentData(vars={"subPath": "team-a", "greeting": "Grüezi"})
    await plane.control.environments.put(
        VirtualEnvironment(name="team-a", environment="dev", data=own)
    )
    await plane.control.releases.request_apps("team-b", {})
    await plane.control.environments.put(Environment(name="prod"))
    again = await check.problems()

    assert [problem.path.split(".")[1] for problem in again] == ["team-c"]
    assert check.checked == 3


async def test_a_write_of_the_environment_in_between_is_checked_against(plane: Plane) -> None:
    await release_everywhere(plane)
    check = ValueCheck(BARE_DEV, plane.store)
    before = await check.problems()

    await plane.control.environments.put(BARE_DEV, force=True)

    assert len(before) == 3
    assert await check.problems() == ()


async def test_other_writes_need_not_wait_for_the_check(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await release_everywhere(plane)
    begun, may_end = asyncio.Event(), asyncio.Event()
    problems = ValueCheck.problems

    async def wait_first(check: ValueCheck) -> object:
        if not begun.is_set():
            begun.set()
            await may_end.wait()
        return await problems(check)

    monkeypatch.setattr(ValueCheck, "problems", wait_first)
    writing = asyncio.create_task(plane.control.environments.put(BARE_DEV))
    await begun.wait()

    await plane.control.environments.put(TEAM)
    may_end.set()

    with pytest.raises(ProblemsFound):
        await writing


def each_by_itself(plane: Plane, new: Environment) -> set[tuple[str, str]]:
    """Return type and path of the problems, found for each release without regard to others."""
    snapshot, found = plane.store.snapshot, set()
    for name, state in snapshot.releases.items():
        assert state.active is not None
        contents = live_contents(snapshot, name, state.active.apps)
        values = overlay(new, snapshot.virtual_environments[name]).vars
        before = finish(use_problems(contents.deployments, contents.data.vars, snapshot))
        after = finish(use_problems(contents.deployments, values, snapshot))
        known = {(problem.type, problem.path) for problem in before}
        added = {(problem.type, problem.path) for problem in after} - known
        found |= {(kind, f"releases.{name}.{path}") for kind, path in added}
    return found


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"greeting": "Moin", "part": "x"},
        {"greeting": 1, "part": "y"},
        {"greeting": "Moin", "part": ""},
        {"greeting": "Moin", "part": ["a", "b"]},
        {"part": [f"value-{number}" for number in range(300)]},
    ],
)
async def test_equal_releases_have_the_problems_that_each_has_by_itself(
    plane: Plane, values: dict[str, Value]
) -> None:
    stored = Environment(
        name="dev",
        data=EnvironmentData(vars={"greeting": "Hi", "part": "p"}),
        release_policy=TESTING,
    )
    await plane.control.environments.put(stored)
    ui = component("order-ui", "parts", routes=["Path(`/{{.Vars.subPath}}-{{.Vars.part}}`)"])
    await plane.deploy("main", ui, API)
    await plane.publish(*pods_of(ui, API))
    many: Value = [f"path-{number}" for number in range(100)]
    own: tuple[dict[str, Value], ...] = (
        {"subPath": "one"},
        {"subPath": many},
        {"subPath": "one", "part": "own"},
        {"subPath": "two", "greeting": "own"},
    )
    for number, variables in enumerate(own):
        name = f"team-{number}"
        await plane.control.environments.put(
            VirtualEnvironment(name=name, environment="dev", data=EnvironmentData(vars=variables))
        )
        await plane.control.releases.request(name, "main")
    new = Environment(name="dev", data=EnvironmentData(vars=values), release_policy=TESTING)

    problems = await ValueCheck(new, plane.store).problems()

    assert {(problem.type, problem.path) for problem in problems} == each_by_itself(plane, new)
