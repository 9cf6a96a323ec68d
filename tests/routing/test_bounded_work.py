"""No request and no rule makes routing work for long without a break.

The tests count calls of functions; see ``tests.support.bounded_work``. The work inside of one call
of the regular expression engine is limited by ``MAX_MATCH_WORK``; see ``language/test_regex.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import pairwise

import pytest

from kubefox.component import Route, Value
from kubefox.deployment import Deployment
from kubefox.records import Change
from kubefox.steps import Steps, Unprepared, finish, in_steps
from routing.explain import explain
from routing.language.facts import Facts
from routing.language.index_keys import ANY, END, REST, IndexKey
from routing.language.rule import MAX_LENGTH, MAX_PREDICATES, RuleError
from routing.request import GenesisRequest
from routing.request_text import MAX_PAIRS, MAX_SEGMENTS
from routing.resolver import resolve_in_steps
from routing.selectors import extract
from routing.snapshot.snapshot import Snapshot, SnapshotBuilder
from routing.table.compiled_rule import compile_rule
from routing.table.decision_tree import build_tree
from routing.table.matcher import ComponentRoutes
from routing.table.rule_set import RuleSet, new_rule_set
from routing.validate import MAX_ROUTES, deployment_problems, release_problems
from tests.routing.world import RoutingWorld, definition, digest_of
from tests.support import records
from tests.support.bounded_work import MAX_CALLS, calls_of, most_calls_of_a_step


def rules_of(rules: Iterable[str]) -> RuleSet:
    routes = tuple(Route(id=number, rule=rule) for number, rule in enumerate(rules))
    return finish(new_rule_set((ComponentRoutes("main", routes),)))


RULES = (
    "PathPrefix(`/`) && Header(`x`, `{.*a.{100}b}`)",
    "PathPrefix(`/`) && Query(`x`, `1`)",
    "Host(`{a}.{b}`) && Path(`/{rest...}`)",
    "Path(`/{x:[a-z]+}/{y:[a-z]+}`) || !Header(`x`, `1`)",
)
KILO = "ab" * 500
REQUESTS = {
    "long header": GenesisRequest(headers=(("x", KILO * 60),)),
    "many headers": GenesisRequest(headers=(("x", "1"),) * 256),
    "many parameters": GenesisRequest(query="x=%61&" * MAX_PAIRS),
    "too many parameters": GenesisRequest(query="&" * 16_000),
    "many segments": GenesisRequest(path="/%61" * MAX_SEGMENTS),
    "too many segments": GenesisRequest(path="/%61" * 4_000),
    "long segments": GenesisRequest(path=f"/{KILO * 8}/{KILO * 8}"),
    "long host": GenesisRequest(host="a." * 30_000),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_decision_of_any_request_is_short(name: str) -> None:
    rules = rules_of(RULES * 50)
    table = finish(in_steps(lambda: rules.table([{}])))

    assert calls_of(lambda: table.match(Facts(REQUESTS[name]))) < MAX_CALLS


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("kf-dep=v1&" + "%6b=&" * MAX_PAIRS, ()),
        ("%6b=&" * 4_000, ()),
        ("", (("cookie", "kf-ve=a;" + ";" * 64_000),)),
        ("", (("cookie", "kf-ve=a;;;"),) * 256),
    ],
)
def test_the_selectors_of_any_request_are_found_soon(
    query: str, headers: tuple[tuple[str, str], ...]
) -> None:
    assert calls_of(lambda: extract(query, headers)) < MAX_CALLS


RULES_OVER_LISTS = (
    "Path(`/{{.Vars.t}}/o#/{id}`)",
    "Path(`/x-{{.Vars.t}}/o#`)",
    "Path(`/{{.Vars.t}}/{{.Vars.t}}/o#`)",
    "Host(`{{.Vars.t}}`) && Path(`/o#`)",
    "Host(`{{.Vars.t}}.com`) && Path(`/o#`)",
    "Header(`x`, `{{.Vars.t}}`) && Path(`/o#`)",
    "Query(`{{.Vars.t}}`, `{a{{.Vars.t}}}`) && Path(`/o#`)",
    "Query(`q`, `{#{{.Vars.s}}}`) && Path(`/o#`)",
    "Method(`{{.Vars.t}}`) && Path(`/o#`)",
)
_MANY_PATHS = "||".join([f"Path(`/a#/b{number}`)" for number in range(64)])
_MANY_HOSTS = "||".join([f"Host(`a#.b{number}`)" for number in range(64)])
_HOSTS_AND_PATHS = (
    f"({'||'.join([f'Host(`h{number}`)' for number in range(30)])}) && "
    f"({'||'.join([f'Path(`/p#/{number}`)' for number in range(30)])})"
)
LARGE_RULES = (
    _MANY_PATHS,
    _MANY_HOSTS,
    _HOSTS_AND_PATHS,
    f"{_HOSTS_AND_PATHS} && Header(`{{{{.Vars.s}}}}`, `1`)",
)
# A stand-alone value of "s" makes the regular expressions of 200 routes as large as may be.
LISTS: dict[str, Value] = {"s": [f"s{number}" for number in range(200)]}


@pytest.mark.parametrize("rule", RULES_OVER_LISTS)
@pytest.mark.parametrize("suffix", ["", "/x", "%2F"])
def test_two_hundred_routes_are_compiled_in_short_steps(rule: str, suffix: str) -> None:
    values: list[str | float] = [f"t{number}{suffix}" for number in range(1_000)]

    assert most_calls_of_a_step(preparing(rule, MAX_ROUTES, {"t": values, **LISTS})) < MAX_CALLS


@pytest.mark.parametrize("rule", LARGE_RULES)
def test_routes_with_the_largest_rules_are_compiled_in_short_steps(rule: str) -> None:
    assert most_calls_of_a_step(preparing(rule, 12, LISTS)) < MAX_CALLS


def preparing(rule: str, count: int, layer: dict[str, Value]) -> Steps[None]:
    """Make all that the first request of a new context needs."""
    routes = [Route(id=number, rule=rule.replace("#", str(number))) for number in range(count)]
    compile_rule.cache_clear()
    rules = yield from new_rule_set((ComponentRoutes("main", tuple(routes)),))
    yield from rules.prepare()
    yield from in_steps(lambda: rules.keys([layer]))
    yield from in_steps(lambda: rules.table([layer]))


PATH_KEYS = [[(ANY, (f"a{n}", f"b{m}", END), ANY) for m in range(64)] for n in range(MAX_ROUTES)]
HOST_KEYS = [[(f"h{m}", (f"a{n}", REST), ANY) for m in range(64)] for n in range(MAX_ROUTES)]
MIXED_KEYS = [
    [(f"h{m}-{n}" if n % 2 else ANY, (f"a{m}" if n % 3 else ANY, REST), "GET") for m in range(64)]
    for n in range(MAX_ROUTES)
]


@pytest.mark.parametrize("keys", [PATH_KEYS, HOST_KEYS, MIXED_KEYS])
def test_the_decision_tree_over_the_most_keys_is_made_in_short_steps(
    keys: list[list[IndexKey]],
) -> None:
    steps = build_tree(range(MAX_ROUTES), [tuple(of_route) for of_route in keys])

    assert most_calls_of_a_step(steps) < MAX_CALLS


@pytest.mark.parametrize("rule", RULES_OVER_LISTS)
def test_a_table_that_is_made_in_one_piece_is_short(rule: str) -> None:
    layer: dict[str, Value] = {"t": [f"t{number}" for number in range(10)], "s": "x"}

    def make_larger_and_larger_tables() -> None:
        for count in range(1, 100):
            rules = rules_of(rule.replace("#", str(number)) for number in range(count))
            assert calls_of(partial(rules.table, [layer])) < MAX_CALLS

    with pytest.raises(Unprepared):
        make_larger_and_larger_tables()


@pytest.mark.parametrize(
    "rule",
    [
        f"Path(`/{'/'.join(['{:a}'] * 100)}`)",
        f"Path(`/{'/'.join(['{:a}'] * 400)}`)",
        f"Path(`/{'/'.join(['a'] * 1_000)}`)",
        "||".join(["Any()"] * MAX_PREDICATES),
        "||".join(["Path(`/a/{b}/c`)"] * MAX_PREDICATES),
        f'Header("a", "{chr(92) * 2_000}")',
        "||".join(["Any()"] * 290),
    ],
)
def test_the_longest_rule_is_compiled_soon(rule: str) -> None:
    compile_rule.cache_clear()

    assert len(rule) <= MAX_LENGTH
    assert calls_of(lambda: compile_rule(rule)) < MAX_CALLS


def test_a_path_of_too_many_segments_is_refused_with_its_column() -> None:
    with pytest.raises(RuleError, match=r"column 7: .*at most 100 segments"):
        compile_rule(f"Path(`{'/a' * 101}`)")


def test_the_rules_of_a_new_component_are_compiled_in_steps_before_it_is_visible() -> None:
    before = Snapshot.empty().apply([change("first", "Path(`/first`)", revision=1)])
    rules = [f"Path(`/steps/{number}`)" for number in range(100)]
    builder = SnapshotBuilder(before)
    builder.add(change("second", *rules, revision=2))
    compile_rule.cache_clear()

    compiled = [compile_rule.cache_info().currsize for _ in builder.steps()]

    assert compiled[-1] == len(rules)
    assert all(later - earlier <= 1 for earlier, later in pairwise(compiled))


def test_the_rules_of_a_deployment_are_compiled_in_steps_when_it_is_checked() -> None:
    main = definition("main", *[f"Path(`/checked/{number}`)" for number in range(50)], "Path(")
    wanted = Deployment(name="v1", app="shop", components={"main": digest_of("main")})
    compile_rule.cache_clear()

    checks = deployment_problems(wanted, {"main": main})
    compiled = [compile_rule.cache_info().currsize for _ in checks]

    assert compiled[:50] == [*range(1, 51)]


def change(name: str, *rules: str, revision: int) -> Change:
    key, record = records.component("shop", definition(name, *rules), digest_of(name))
    return Change(key=key, revision=revision, record=record)


def test_a_new_deployment_is_prepared_in_short_steps_before_it_is_visible() -> None:
    rules = [f"Path(`/{{{{.Vars.t}}}}/{number}/{{id}}`)" for number in range(MAX_ROUTES)]
    before = Snapshot.empty().apply([change("other", revision=1)])
    key, record = records.deployment("v1", "shop", {"main": digest_of("main")})
    builder = SnapshotBuilder(before.apply([change("main", *rules, revision=2)]))
    builder.add(Change(key=key, revision=3, record=record))

    assert most_calls_of_a_step(builder.steps()) < MAX_CALLS
    (prepared,) = builder.finish().route_bindings._prepared
    assert calls_of(lambda: prepared.table([{"t": "value"}])) < MAX_CALLS / 10


@pytest.mark.parametrize("rule", RULES_OVER_LISTS)
def test_the_first_snapshot_and_its_first_request_take_short_steps(rule: str) -> None:
    rules = [rule.replace("#", str(number)) for number in range(MAX_ROUTES)]
    world = RoutingWorld()
    world.environment("dev", t=[f"t{number}" for number in range(1_000)], **LISTS)
    world.virtual("team-a")
    world.deploy("v1", definition("main", *rules))
    world.release("team-a", "v1")
    request = GenesisRequest(path="/nothing")
    compile_rule.cache_clear()
    builder = SnapshotBuilder(Snapshot.empty())
    for found in world.changes:
        builder.add(found)

    assert most_calls_of_a_step(builder.steps()) < MAX_CALLS
    snapshot = builder.finish()
    for query in ("", "kf-dep=v1&kf-ve=team-a"):
        selectors, _, _ = extract(query, ())
        steps = resolve_in_steps(request, selectors, snapshot)
        assert most_calls_of_a_step(steps) < MAX_CALLS


@pytest.mark.parametrize("rule", RULES_OVER_LISTS)
def test_the_checks_and_the_explanation_of_two_hundred_routes_take_short_steps(rule: str) -> None:
    main = definition("main", *[rule.replace("#", str(number)) for number in range(MAX_ROUTES)])
    variables: dict[str, Value] = {"t": [f"t{number}" for number in range(1_000)], **LISTS}
    world = RoutingWorld()
    world.environment("dev", **variables)
    world.virtual("team-a")
    world.virtual("team-b")
    deployment = world.deploy("v1", main)
    world.release("team-a", "v1")
    request, (selectors, _, _) = GenesisRequest(path="/a1/b1", host="a1.b1"), extract("", ())
    checks = (
        deployment_problems(deployment, {"main": main}),
        release_problems("team-b", {"shop": deployment}, variables, world.snapshot),
        explain(request, selectors, world.snapshot),
    )

    assert max(map(most_calls_of_a_step, checks)) < MAX_CALLS


def test_a_rule_of_too_many_predicates_is_refused_with_its_column() -> None:
    with pytest.raises(RuleError, match=rf"column {MAX_PREDICATES * 7 + 1}: .*64 predicates"):
        compile_rule("||".join(["Any()"] * (MAX_PREDICATES + 1)))


def test_a_deployment_of_too_many_routes_is_refused() -> None:
    main = definition("main", *[f"Path(`/{number}`)" for number in range(MAX_ROUTES + 1)])
    wanted = Deployment(name="v1", app="shop", components={"main": digest_of("main")})

    (problem,) = finish(deployment_problems(wanted, {"main": main}))

    assert problem.type == "TooManyRoutes"
    assert str(MAX_ROUTES) in problem.message
