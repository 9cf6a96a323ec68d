"""Every problem of a deployment or a release is told at once, with its place."""

from __future__ import annotations

import pytest

from model.component import Dependency, DependencyKind, Route, Value, Variable, VariableType
from model.deployment import Deployment
from model.errors import Problem
from routing.validate import deployment_problems, release_problems
from tests.routing.world import APP, World, definition, digest_of

UI = definition("order-ui", "Path(`/{{.Vars.subPath}}/orders/{id}`)")


def places(problems: tuple[Problem, ...]) -> list[tuple[str, str]]:
    return [(each.type, each.path) for each in problems]


def deployment(*names: str) -> Deployment:
    return Deployment(name="v1", app=APP, components={name: digest_of(name) for name in names})


def test_a_sound_deployment_has_no_problem() -> None:
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

    found = deployment_problems(deployment(*definitions), definitions, ["state-store"])

    assert found == ()


def test_all_problems_of_a_deployment_come_at_once() -> None:
    ui = definition(
        "order-ui",
        "Path(`/a`",
        "Foo(`a`)",
        "Path(`/{{.Secrets.key}}`)",
        "Path(`/ok`)",
        dependencies=[
            Dependency(name="nobody"),
            Dependency(name="worker"),
            Dependency(name="mail", kind=DependencyKind.ADAPTER),
        ],
    )
    definitions = {"order-ui": ui, "worker": definition("worker")}

    found = deployment_problems(deployment("order-ui", "worker", "lost"), definitions, ["http"])

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

    found = deployment_problems(deployment("a", "b"), definitions)

    expected = [("RouteConflict", "components.b.routes[0].rule")] if is_conflict else []
    assert places(found) == expected


def test_a_pattern_is_judged_by_its_size_and_never_tried() -> None:
    ui = definition("order-ui", "Path(`/{x:(a+)+$}`)", "Path(`/{x:((a{100}){100})}`)")

    (found,) = deployment_problems(deployment("order-ui"), {"order-ui": ui})

    assert found.path == "components.order-ui.routes[1].rule"
    assert "repetition" in found.message


def test_a_priority_settles_a_conflict() -> None:
    definitions = {
        "a": definition("a", "Path(`/x`)"),
        "b": definition("b", Route(id=0, rule="Path(`/x`)", priority=1)),
    }

    assert deployment_problems(deployment("a", "b"), definitions) == ()


@pytest.fixture
def world() -> World:
    world = World()
    world.environment("dev")
    world.virtual("team-a", subPath="a")
    world.virtual("team-b", subPath="b")
    world.deploy("v1", UI)
    return world


def problems(world: World, virtual: str, *names: str, **variables: Value) -> tuple[Problem, ...]:
    deployments = {each.app: each for each in (world.snapshot.deployments[n] for n in names)}
    return release_problems(virtual, deployments, variables, world.snapshot)


def test_the_same_deployment_under_different_values_is_no_conflict(world: World) -> None:
    world.release("team-a", "v1")

    assert problems(world, "team-b", "v1", subPath="b") == ()
    assert problems(world, "team-a", "v1", subPath="a") == ()


def test_equal_values_make_a_conflict_that_names_the_other(world: World) -> None:
    world.release("team-a", "v1")

    (found,) = problems(world, "team-b", "v1", subPath="a")

    assert found.type == "RouteConflict"
    assert found.path == "apps.order-app.components.order-ui.routes[0].rule"
    assert "of deployment v1, active in team-a by release r1" in found.message
    assert "have the environments' variables differ in it" in found.message
    assert "give one a priority" in found.message


def test_an_app_never_conflicts_with_what_it_replaces(world: World) -> None:
    world.deploy("v2", UI, version="2")
    world.release("team-a", "v1")

    assert problems(world, "team-a", "v1", subPath="a") == ()
    assert problems(world, "team-a", "v2", subPath="a") == ()


def test_a_conflict_is_found_among_many_releases(world: World) -> None:
    for number in range(30):
        world.virtual(f"team-{number}", subPath=f"s{number}")
        world.release(f"team-{number}", "v1", release_id=f"r{number}")

    (found,) = problems(world, "team-b", "v1", subPath="s17")

    assert "active in team-17" in found.message
    assert problems(world, "team-17", "v1", subPath="s17") == ()


def test_apps_of_one_release_are_compared(world: World) -> None:
    world.deploy("other", definition("web", "Path(`/{{.Vars.subPath}}/orders/{n}`)"), app="shop")

    found = problems(world, "team-a", "v1", "other", subPath="a")

    assert places(found) == [("RouteConflict", "apps.shop.components.web.routes[0].rule")]


def test_all_problems_of_a_release_come_at_once(world: World) -> None:
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

    found = release_problems("team-a", {"lost": lost, "shop": shop}, variables, world.snapshot)

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
