"""An explanation has the decision of the resolver and all other candidates."""

from __future__ import annotations

import json

import msgspec
import pytest

from kubefox.component import Dependency, DependencyKind, Variable
from kubefox.steps import finish
from routing.explain import MAX_CANDIDATES, explain
from routing.explanation import Explanation
from routing.request import GenesisRequest
from routing.selectors import Source, extract
from tests.routing.world import RoutingWorld, definition, digest_of

UI = definition(
    "order-ui",
    "Path(`/{{.Vars.subPath}}/orders/{id}`) && Method(`GET`)",
    "PathPrefix(`/{{.Vars.subPath}}`)",
    dependencies=[
        Dependency(name="api-server"),
        Dependency(name="state-store", kind=DependencyKind.ADAPTER),
    ],
)
API = definition("api-server", "Path(`/{{.Vars.lacking}}`)", default=True)


@pytest.fixture
def world() -> RoutingWorld:
    world = RoutingWorld()
    world.environment("dev", subPath="dev")
    world.virtual("team-a", subPath="a")
    world.virtual("team-b", subPath="b")
    world.deploy("v1", UI, API)
    return world


def explained(world: RoutingWorld, url: str, method: str = "GET") -> Explanation:
    path, _, query = url.partition("?")
    selectors, query, _ = extract(query, ())
    request = GenesisRequest(path=path, query=query, method=method)
    return finish(explain(request, selectors, world.snapshot))


def test_candidates_are_in_winning_order_with_their_refusals(world: RoutingWorld) -> None:
    found = explained(world, "/a/orders/7?kf-dep=v1&kf-ve=team-a", "PUT")

    refused, winner, useless = found.candidates
    assert [candidate.route for candidate in (refused, winner)] == [0, 1]
    assert useless.component == "api-server"
    assert refused.refused_by == "Method(`GET`)"
    assert not refused.wins
    assert winner.wins
    assert winner == found.winner
    assert winner.params == {"path_suffix": "/orders/7"}
    assert winner.rule == "PathPrefix(`/{{.Vars.subPath}}`)"
    assert winner.resolved == "PathPrefix(`/a`)"
    assert (winner.priority, winner.length) == (0, len("PathPrefix(`/a`)"))
    assert winner.hash == digest_of("order-ui")
    assert found.selectors.deployment_source is Source.QUERY
    assert found.error is None


def test_the_graph_shows_the_hash_of_every_component(world: RoutingWorld) -> None:
    graph = explained(world, "/a/orders/7?kf-dep=v1&kf-ve=team-a").graph

    assert [(node.component, node.hash) for node in graph] == [
        ("api-server", digest_of("api-server")),
        ("order-ui", digest_of("order-ui")),
    ]
    assert [(edge.name, edge.hash) for edge in graph[1].dependencies] == [
        ("api-server", digest_of("api-server")),
        ("state-store", ""),
    ]


def test_problems_of_the_environment_are_explained(world: RoutingWorld) -> None:
    (problem,) = explained(world, "/a/orders/7?kf-dep=v1&kf-ve=team-a").problems

    assert problem.path == "components.api-server.routes[0].rule"
    assert "lacking" in problem.message


def test_an_unusable_released_route_is_explained_for_every_plain_url(world: RoutingWorld) -> None:
    world.deploy("v1", UI)
    world.release("team-a", "v1")
    world.release("team-b", "v1", release_id="r2")
    world.virtual("team-a")
    world.environment("dev")

    found = explained(world, "/a/orders/7")
    elsewhere = explained(world, "/b/orders/7")

    assert (found.error and found.error.code) == "route_not_found"
    useless = [
        candidate for candidate in found.candidates if candidate.virtual_environment == "team-a"
    ]
    assert [
        (candidate.release, candidate.component, candidate.route, candidate.resolved)
        for candidate in useless
    ] == [("r1", "order-ui", at, route.rule) for at, route in enumerate(UI.routes)]
    assert all("uses variable subPath" in candidate.refused_by for candidate in useless)
    assert [problem.path for problem in found.problems] == [
        f"releases.team-a.apps.order-app.components.order-ui.routes[{at}].rule" for at in (0, 1)
    ]
    assert elsewhere.winner is not None
    assert elsewhere.winner.virtual_environment == "team-b"
    assert elsewhere.problems == found.problems


def test_a_released_route_with_restored_values_is_no_problem(world: RoutingWorld) -> None:
    world.deploy("v1", UI)
    world.virtual("team-a")
    world.environment("dev")
    world.release("team-a", "v1")
    lacking = explained(world, "/a/orders/7")

    world.environment("dev", subPath="a")
    found = explained(world, "/a/orders/7")

    assert len(lacking.problems) == 2
    assert found.winner is not None
    assert found.problems == ()


def test_a_plain_url_has_candidates_of_all_active_releases(world: RoutingWorld) -> None:
    world.release("team-a", "v1")
    world.release("team-b", "v1", release_id="r2")

    found = explained(world, "/b/orders/7")

    assert found.winner is not None
    assert (found.winner.virtual_environment, found.winner.release) == ("team-b", "r2")
    assert found.conflicts == ()


def test_routes_that_tie_with_the_winner_are_listed(world: RoutingWorld) -> None:
    world.release("team-a", "v1", at_s=1)
    world.virtual("team-b", subPath="a")
    world.release("team-b", "v1", release_id="r2", at_s=2)

    found = explained(world, "/a/orders/7")

    assert found.winner is not None
    assert found.winner.virtual_environment == "team-b"
    (conflict,) = found.conflicts
    assert conflict.virtual_environment == "team-a"
    assert conflict.path == "components.order-ui.routes[0].rule"
    first, second, *_ = found.candidates
    assert (first.virtual_environment, first.wins) == ("team-b", True)
    assert (second.virtual_environment, second.wins, second.refused_by) == ("team-a", False, "")


def test_an_environment_alone_shows_all_routes_of_its_release(world: RoutingWorld) -> None:
    world.release("team-a", "v1")

    found = explained(world, "/nothing?kf-ve=team-a")

    assert len(found.candidates) == 3
    assert all(candidate.refused_by for candidate in found.candidates)
    assert found.winner is None
    assert (found.status, found.error and found.error.code) == (400, "invalid_context")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("/a?kf-dep=v1", "invalid_selector"),
        ("/a?kf-dep=v9&kf-ve=team-a", "deployment_not_found"),
        ("/a?kf-ve=team-a", "release_not_found"),
        ("/a?kf-ve=team-x", "environment_not_found"),
        ("/a", "route_not_found"),
    ],
)
def test_an_error_is_explained_too(world: RoutingWorld, url: str, code: str) -> None:
    found = explained(world, url)

    assert found.error is not None
    assert found.error.code == code
    assert found.status >= 400
    assert found.candidates == ()
    assert found.graph == ()


def test_refusals_inside_connectives_are_explained(world: RoutingWorld) -> None:
    world.deploy(
        "v2",
        definition(
            "web",
            "(Method(`PUT`) || Header(`x`, `1`)) && All()",
            "!(Method(`GET`) && All())",
            "!Method(`GET`)",
            "Path(`/x`) || Path(`/y`)",
        ),
    )

    found = explained(world, "/?kf-dep=v2&kf-ve=team-a")

    refused = {candidate.route: candidate.refused_by for candidate in found.candidates}
    assert refused == {
        0: "Method(`PUT`) || Header(`x`, `1`)",
        1: "!(Method(`GET`) && All())",
        2: "!Method(`GET`)",
        3: "Path(`/x`) || Path(`/y`)",
    }


def test_values_of_lists_are_shown(world: RoutingWorld) -> None:
    world.virtual("team-a", subPath=["a", "b"])

    found = explained(world, "/b/orders/7?kf-dep=v1&kf-ve=team-a")

    assert found.winner is not None
    assert found.winner.resolved == "Path(`/[a, b]/orders/{id}`) && Method(`GET`)"


def test_candidates_are_bounded(world: RoutingWorld) -> None:
    rules = [f"Path(`/{number}`)" for number in range(MAX_CANDIDATES + 5)]
    world.deploy("many", definition("web", *rules))

    found = explained(world, "/3?kf-dep=many&kf-ve=team-a")

    assert len(found.candidates) == MAX_CANDIDATES
    assert found.omitted == 5
    assert found.winner is not None
    assert found.winner.route == 3


def test_an_explanation_is_json(world: RoutingWorld) -> None:
    found = json.loads(msgspec.json.encode(explained(world, "/a/x?kf-dep=v1&kf-ve=team-a")))

    assert found["selectors"]["deployment_source"] == "query"
    assert found["winner"]["component"] == "order-ui"


@pytest.mark.parametrize("policy", ["explicit", "Testing", "Stable"])
def test_variables_of_the_winners_deployment_without_a_value_are_explained(
    world: RoutingWorld, policy: str
) -> None:
    ui = definition("order-ui", "PathPrefix(`/{{.Vars.subPath}}`)")
    needed = [Variable(name="token"), Variable(name="size", default="1"), Variable(name="subPath")]
    world.deploy("v2", ui, definition("api-server", variables=needed))
    url = "/a/orders"
    match policy:
        case "Testing":
            world.release("team-a", "v2")
        case "Stable":
            world.freeze("team-a", "v2", variables={"subPath": "a"})
        case _:
            url += "?kf-dep=v2&kf-ve=team-a"

    (problem,) = explained(world, url).problems

    assert problem.type == "VariableNotFound"
    assert problem.message == (
        "api-server requires variable token, which is not set, in virtual environment team-a"
    )
    assert problem.path.endswith("components.api-server.variables.token")
    world.environment("dev", token="x")
    assert (explained(world, url).problems == ()) == (policy != "Stable")
