"""Validation returns all problems of a deployment or a release, with their paths."""

from __future__ import annotations

import pytest

from kubefox.component import Dependency, DependencyKind, Route, Value, Variable, VariableType
from kubefox.deployment import Deployment
from kubefox.errors import Problem
from kubefox.steps import finish
from routing.conflicts import MAX_TIES
from routing.validate import deployment_problems, release_problems
from tests.routing.world import APP, RoutingWorld, definition, digest_of

UI = definition("order-ui", "Path(`/{{.Vars.subPath}}/orders/{id}`)")


def places(problems: tuple[Problem, ...]) -> list[tuple[str, str]]:
    return [(problem.type, problem.path) for problem in problems]


def deployment(*names: str) -> Deployment:
    return Deployment(name="v1", app=APP, components={name: digest_of(name) for name in names})


def test_a_valid_deployment_has_no_problems() -> None:
    ui = definition(
        "order-ui",
        "Path(`/{{.Vars.subPath}}`)",
        dependencies=[
            Dependency(name="api-server"),
            Dependency(name="state-store", kind=DependencyKind.ADAPTER),
        ],
    )
    api = definition("api-server", default=True)
    definitions = {"order-ui": ui, "api-server": api}

    found = finish(deployment_problems(deployment(*definitions), definitions, ["state-store"]))

    assert found == ()


def test_all_problems_of_a_deployment_are_returned_at_once() -> None:
    ui = definition(
        "order-ui",
        "Path(`/a`",
        "Foo(`a`)",
        "Path(`/{{.Secrets.key}}`)",
        "Path(`/ok`)",
        dependencies=[
            Dependency(name="unknown"),
            Dependency(name="worker"),
            Dependency(name="mail", kind=DependencyKind.ADAPTER),
        ],
    )
    definitions = {"order-ui": ui, "worker": definition("worker")}

    found = finish(
        deployment_problems(deployment("order-ui", "worker", "lost"), definitions, ["http"])
    )

    assert places(found) == [
        ("ComponentNotFound", "components.lost"),
        ("RuleSyntax", "components.order-ui.routes[0].rule"),
        ("UnknownPredicate", "components.order-ui.routes[1].rule"),
        ("SecretInRule", "components.order-ui.routes[2].rule"),
        ("DependencyNotFound", "components.order-ui.dependencies[0]"),
        ("DefaultHandlerNotFound", "components.order-ui.dependencies[1]"),
        ("AdapterNotFound", "components.order-ui.dependencies[2]"),
    ]
    assert "column 10" in found[1].message


@pytest.mark.parametrize(
    ("first", "second", "is_conflict"),
    [
        ("Path(`/a/{x}`)", "Path(`/a/{y}`)", True),
        ("Path(`/{{.Vars.s}}/a`)", "Path(`/{{.Vars.s}}/a`)", True),
        ("Method(`A`) && All()", "All() && Method(`A`)", True),
        ("Path(`/a`) || Path(`/b`)", "Path(`/b`) || Path(`/a`)", True),
        ("Method(`GET`, `PUT`)", "Method(`PUT`, `GET`)", True),
        ("Header(`K`, `{[a]}`)", "Header(`k`, `{[a]}`)", True),
        ("!Path(`/a`)", "!Path(`/a`)", True),
        ("Path(`/a`)", "Path(`/b`)", False),
        ("Path(`/a`)", "Path(`/a/`)", False),
        ("Path(`/{{.Vars.s}}/a`)", "Path(`/{{.Vars.t}}/a`)", False),
        ("Path(`/a/{x:[0-9]}`)", "Path(`/a/{x:[a-z]}`)", False),
        ("Path(`/a/{x}`)", "Path(`/a/{x...}`)", False),
        ("PathPrefix(`/a`)", "Path(`/a`)", False),
        ("Query(`k`, `a`)", "Query(`l`, `a`)", False),
        ("Host(`a`)", "Host(`b`)", False),
        ("Type(`a`)", "Type(`b`)", False),
    ],
)
def test_routes_of_one_deployment_that_always_tie_conflict(
    first: str, second: str, *, is_conflict: bool
) -> None:
    definitions = {"a": definition("a", first), "b": definition("b", second)}

    found = finish(deployment_problems(deployment("a", "b"), definitions))

    expected = [("RouteConflict", "components.b.routes[0].rule")] if is_conflict else []
    assert places(found) == expected


def test_a_slow_pattern_is_valid_and_never_executed() -> None:
    ui = definition("order-ui", "Path(`/{x:(a+)+$}`)", "Path(`/{x:((a{100}){100})}`)")

    (found,) = finish(deployment_problems(deployment("order-ui"), {"order-ui": ui}))

    assert found.path == "components.order-ui.routes[1].rule"
    assert "repetition" in found.message


def test_a_priority_resolves_a_conflict() -> None:
    definitions = {
        "a": definition("a", "Path(`/x`)"),
        "b": definition("b", Route(id=0, rule="Path(`/x`)", priority=1)),
    }

    assert finish(deployment_problems(deployment("a", "b"), definitions)) == ()


@pytest.fixture
def world() -> RoutingWorld:
    world = RoutingWorld()
    world.environment("dev")
    world.virtual("team-a", subPath="a")
    world.virtual("team-b", subPath="b")
    world.deploy("v1", UI)
    return world


def problems(
    world: RoutingWorld, virtual: str, *names: str, **variables: Value
) -> tuple[Problem, ...]:
    deployments = {
        world.snapshot.deployments[name].app: world.snapshot.deployments[name] for name in names
    }
    return finish(release_problems(virtual, deployments, variables, world.snapshot))


def test_different_values_avoid_a_conflict(world: RoutingWorld) -> None:
    world.release("team-a", "v1")

    assert problems(world, "team-b", "v1", subPath="b") == ()
    assert problems(world, "team-a", "v1", subPath="a") == ()


def test_equal_values_make_a_conflict_that_names_the_other_route(world: RoutingWorld) -> None:
    world.release("team-a", "v1")

    (found,) = problems(world, "team-b", "v1", subPath="a")

    assert found.type == "RouteConflict"
    assert found.path == "apps.order-app.components.order-ui.routes[0].rule"
    assert "of deployment v1, active in team-a by release r1" in found.message
    assert "have the environments' variables differ in it" in found.message
    assert "give one a priority" in found.message


def test_a_release_does_not_conflict_with_the_one_it_replaces(world: RoutingWorld) -> None:
    world.deploy("v2", UI, version="2")
    world.release("team-a", "v1")

    assert problems(world, "team-a", "v1", subPath="a") == ()
    assert problems(world, "team-a", "v2", subPath="a") == ()


def test_a_conflict_is_found_among_many_releases(world: RoutingWorld) -> None:
    for number in range(30):
        world.virtual(f"team-{number}", subPath=f"s{number}")
        world.release(f"team-{number}", "v1", release_id=f"r{number}")

    (found,) = problems(world, "team-b", "v1", subPath="s17")

    assert "active in team-17" in found.message
    assert problems(world, "team-17", "v1", subPath="s17") == ()


def test_a_check_ends_when_enough_conflicts_are_found(world: RoutingWorld) -> None:
    deployments = {APP: world.snapshot.deployments["v1"]}
    steps, found = [], []
    for count in (2 * MAX_TIES, 5 * MAX_TIES):
        for number in range(count):
            world.virtual(f"team-{number}", subPath="same")
            world.release(f"team-{number}", "v1", release_id=f"r{number}")
        check = release_problems("team-b", deployments, {"subPath": "same"}, world.snapshot)
        steps.append(sum(1 for _ in check))
        found.append(problems(world, "team-b", "v1", subPath="same"))

    assert steps[1] <= steps[0]
    assert [len(conflicts) for conflicts in found] == [MAX_TIES, MAX_TIES]


def test_apps_of_one_release_may_conflict(world: RoutingWorld) -> None:
    world.deploy("other", definition("web", "Path(`/{{.Vars.subPath}}/orders/{n}`)"), app="shop")

    found = problems(world, "team-a", "v1", "other", subPath="a")

    assert places(found) == [("RouteConflict", "apps.shop.components.web.routes[0].rule")]


def test_all_problems_of_a_release_are_returned_at_once(world: RoutingWorld) -> None:
    web = definition(
        "web",
        "Path(`/{{.Vars.subPath}}`)",
        "Path(`/{{.Vars.list}}`)",
        variables=[
            Variable(name="needed"),
            Variable(name="optional", default="x"),
            Variable(name="text", type=VariableType.STRING),
            Variable(name="number", type=VariableType.NUMBER),
            Variable(name="flag", type=VariableType.BOOLEAN),
            Variable(name="list", type=VariableType.LIST),
            Variable(name="right", type=VariableType.NUMBER),
        ],
    )
    lost = Deployment(name="lost", app="lost", components={"gone": "0" * 32})
    shop = world.deploy("shop", web, app="shop")
    variables: dict[str, Value] = {
        "text": 1, "number": True, "flag": "true", "list": [], "right": 1.5,
    }  # fmt: skip

    found = finish(
        release_problems("team-a", {"lost": lost, "shop": shop}, variables, world.snapshot)
    )

    below = "apps.shop.components.web"
    assert places(found) == [
        ("ComponentNotFound", "apps.lost.components.gone"),
        ("VariableNotFound", f"{below}.variables.needed"),
        ("VariableType", f"{below}.variables.text"),
        ("VariableType", f"{below}.variables.number"),
        ("VariableType", f"{below}.variables.flag"),
        ("VariableNotFound", f"{below}.routes[0].rule"),
        ("VariableNotFound", f"{below}.routes[1].rule"),
    ]
    assert "subPath" in found[5].message
