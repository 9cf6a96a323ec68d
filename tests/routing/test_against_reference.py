"""For random rules, environments and requests, routing matches like the reference matcher."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal
from urllib.parse import quote

from hypothesis import assume, given
from hypothesis import strategies as st

from kubefox.component import Route, Value
from kubefox.event import Headers
from kubefox.steps import finish, in_steps
from routing.language.facts import Facts
from routing.language.rule import RuleError
from routing.request import GenesisRequest
from routing.table.compiled_rule import compile_rule
from routing.table.index import candidates
from routing.table.index_builder import IndexBuilder
from routing.table.key_trie import KeyTrie
from routing.table.matcher import CompiledRoute, ComponentRoutes, compile_table
from routing.table.rule_set import new_rule_set
from tests.routing.reference import (
    Cap,
    Combined,
    P,
    RefRoute,
    Rx,
    Segment,
    Tree,
    Var,
    accepts,
    best,
    text,
    used,
)

WORDS = ["a", "b", "a b", "a/b", "é", "7", "42"]
LITERALS = ["a", "b", "a%20b", "a%2Fb", "é", "7", ""]
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"]
HOSTS = ["example.com", "a.example.com", "EXAMPLE.com:8080", "b"]
WORDS_BETWEEN: st.SearchStrategy[Literal["&&", "||", "!"]] = st.sampled_from(
    ("&&", "&&", "||", "!")
)
REGEXES = ["[0-9]+", "a|b", "[a-z]{1,3}", ".*", "(?:a+)+"]
NAMES = ["x", "y", "z"]


def values() -> st.SearchStrategy[Value]:
    scalars = st.one_of(
        st.sampled_from(["a", "b", "a/b", "/a/", "", "a%20b", "get", "7"]),
        st.sampled_from([7, 42]),
        st.booleans(),
    )
    lists = st.lists(st.sampled_from(["a", "b", "7"]), max_size=3, unique=True)
    return st.one_of(scalars, lists.map(list[str | float]))


def captures(name: str) -> st.SearchStrategy[Cap]:
    regexes = st.sampled_from([None, *REGEXES])
    return regexes.flatmap(
        lambda regex: st.sampled_from(
            [Cap(name, regex), Cap("", regex) if regex is not None else Cap(name)]
        )
    )


variables = st.sampled_from(NAMES).map(Var)


@st.composite
def paths(draw: st.DrawFn, number: int, *, may_have_tail: bool) -> tuple[Segment, ...]:
    segments: list[Segment] = [
        draw(st.one_of(st.sampled_from(LITERALS), variables, captures(f"p{number}_{at}")))
        for at in range(draw(st.integers(0, 3)))
    ]
    if may_have_tail and draw(st.booleans()):
        segments.append(Cap(f"p{number}_rest", None, tail=True))
    return tuple(segments)


@st.composite
def hosts(draw: st.DrawFn, number: int) -> tuple[Segment, ...]:
    labels = st.sampled_from(["example", "com", "a", "A"])
    return tuple(
        draw(st.one_of(labels, labels, variables, captures(f"h{number}_{at}")))
        for at in range(draw(st.integers(1, 3)))
    )


@st.composite
def predicates(draw: st.DrawFn, number: int) -> P:
    name = draw(
        st.sampled_from(
            ["Path", "Path", "PathPrefix", "Method", "Header", "Query", "Host", "Type", "All"]
        )
    )
    value = st.one_of(st.sampled_from(["a", "b", "7"]), variables)
    match name:
        case "Path":
            return P("Path", (draw(paths(number, may_have_tail=True)),))
        case "PathPrefix":
            return P("PathPrefix", (draw(paths(number, may_have_tail=False)),))
        case "Method":
            methods = st.one_of(st.sampled_from(METHODS), st.just("get"), variables)
            return P("Method", tuple(draw(st.lists(methods, min_size=1, max_size=6))))
        case "Header" | "Query":
            key = draw(st.sampled_from(["k", "q"]))
            wanted = draw(st.one_of(value, st.sampled_from(REGEXES).map(Rx)))
            return P("Header" if name == "Header" else "Query", (key, wanted))
        case "Host":
            return P("Host", (draw(hosts(number)),))
        case "Type":
            return P("Type", (draw(st.sampled_from(["http", "cron"])),))
        case _:
            return P("All")


@st.composite
def rules(draw: st.DrawFn) -> Tree:
    numbers = iter(range(100))

    def tree(levels: int) -> Tree:
        if levels == 0 or draw(st.booleans()):
            return draw(predicates(next(numbers)))
        word = draw(WORDS_BETWEEN)
        size = 1 if word == "!" else draw(st.integers(2, 3))
        return Combined(word, tuple(tree(levels - 1) for _ in range(size)))

    rule = tree(2)
    assume(not _has_suffix_twice(rule))
    return rule


def _has_suffix_twice(rule: Tree) -> bool:
    """Two prefixes between ``&&`` would both give path_suffix, which is refused."""
    try:
        compile_rule(text(rule))
    except RuleError as error:
        return error.found == "parameter path_suffix again"
    return False


@st.composite
def headers(draw: st.DrawFn) -> Headers:
    pairs = st.tuples(st.sampled_from(["k", "q"]), st.sampled_from(["a", "b", "7", "aa"]))
    return tuple(draw(st.lists(pairs, max_size=3)))


@st.composite
def requests(draw: st.DrawFn) -> GenesisRequest:
    segments = draw(st.lists(st.sampled_from(WORDS), max_size=4))
    slash = draw(st.sampled_from(["/", "//"]))
    path = "/" + slash.join(quote(segment, safe="") for segment in segments)
    pairs = draw(headers())
    return GenesisRequest(
        type=draw(st.sampled_from(["http", "http", "cron"])),
        host=draw(st.sampled_from(HOSTS)),
        method=draw(st.sampled_from(METHODS)),
        path=path + draw(st.sampled_from(["", "/"])),
        query="&".join(f"{name}={value}" for name, value in draw(headers())),
        headers=pairs,
    )


environments = st.dictionaries(st.sampled_from(NAMES), values())


@st.composite
def tables(draw: st.DrawFn) -> list[RefRoute]:
    found = draw(st.lists(st.tuples(rules(), st.sampled_from([0, 0, 0, 5, -1])), max_size=8))
    return [
        RefRoute(draw(st.sampled_from(["a", "b"])), number, rule, priority)
        for number, (rule, priority) in enumerate(found)
    ]


def declared(routes: list[RefRoute]) -> tuple[ComponentRoutes, ...]:
    return tuple(
        ComponentRoutes(
            name,
            tuple(
                Route(id=route.id, rule=text(route.rule), priority=route.priority)
                for route in routes
                if route.component == name
            ),
        )
        for name in ("a", "b")
    )


@given(tables(), environments, st.lists(requests(), min_size=1, max_size=5))
def test_a_table_matches_like_the_reference(
    routes: list[RefRoute], variables: dict[str, Value], asked: list[GenesisRequest]
) -> None:
    compiled = compile_table(declared(routes), [variables])
    rule_set = finish(new_rule_set(declared(routes)))
    shared = finish(in_steps(lambda: rule_set.table([variables])))

    assert [_place(route) for route in shared.routes] == [
        _place(route) for route in compiled.routes
    ]
    assert shared.problems == compiled.problems
    for request in asked:
        for table in (compiled, shared):
            match = table.match(Facts(request))

            found = match and (*_place(match[0]), match[1])
            assert found == best(routes, variables, request)
            if match is not None:
                assert table.rank(match[0]) == _rank(compiled.routes, match[0])


def _place(route: CompiledRoute) -> tuple[str, int]:
    return route.component, route.route.id


def _rank(routes: Iterable[CompiledRoute], wanted: CompiledRoute) -> tuple[int, int]:
    return next(route.rank for route in routes if _place(route) == _place(wanted))


@given(
    st.lists(tables(), max_size=7),
    environments,
    st.lists(requests(), min_size=1, max_size=5),
    st.sets(st.integers(0, 6)),
)
def test_the_index_never_omits_an_accepting_route(
    sets: list[list[RefRoute]],
    variables: dict[str, Value],
    asked: list[GenesisRequest],
    removed: set[int],
) -> None:
    rule_sets = [finish(new_rule_set(declared(routes))) for routes in sets]

    def keys_of(at: int) -> KeyTrie:
        return finish(in_steps(lambda: rule_sets[at].keys([variables])))

    adding = IndexBuilder(keys_of)
    for at in range(len(sets)):
        adding.add(at)
    before = adding.finish()
    removing = IndexBuilder(keys_of, before)
    for at in removed & set(range(len(sets))):
        removing.remove(at)
    after = removing.finish()

    for request in asked:
        right = {
            at for at, routes in enumerate(sets) if best(routes, variables, request) is not None
        }
        assert right <= set(candidates(before, Facts(request)))
        found = set(candidates(after, Facts(request)))
        assert right - removed <= found
        assert not found & removed


@given(rules(), environments, requests())
def test_a_rule_accepts_like_the_reference(
    rule: Tree, variables: dict[str, Value], request: GenesisRequest
) -> None:
    routes = [RefRoute("a", 0, rule)]
    usable = all(variables.get(name, []) != [] for name in used(rule))

    match = compile_table(declared(routes), [variables]).match(Facts(request))

    expected = accepts(rule, variables, request) if usable else None
    assert (match[1] if match else None) == expected
