"""The rule language, row by row."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from kubefox.component import Route, Value
from kubefox.event import EventType, Headers
from routing.language.facts import Facts
from routing.language.rule import MAX_DEPTH, MAX_LENGTH, RuleError
from routing.language.template import MAX_ALTERNATIVES, ResolvedValue
from routing.request import GenesisRequest
from routing.table.compiled_rule import compile_rule
from routing.table.matcher import ComponentRoutes, compile_table
from routing.table.priority import rank_of

Params = dict[str, str] | None


def matched(
    routes: Iterable[Route], variables: dict[str, Value], request: GenesisRequest
) -> tuple[int, Params] | None:
    """Return the id of the route that wins and its parameters, or None."""
    table = compile_table([ComponentRoutes("", tuple(routes))], [variables])
    match = table.match(Facts(request))
    return None if match is None else (match[0].route.id, match[1])


def accepted(rule: str, request: GenesisRequest, **variables: Value) -> Params:
    """Return the parameters, or None."""
    match = matched([Route(id=0, rule=rule)], variables, request)
    return None if match is None else match[1]


@pytest.mark.parametrize(
    ("rule", "path", "params"),
    [
        ("Path(`/`)", "/", {}),
        ("Path(`/`)", "", {}),
        ("Path(`/`)", "//", {}),
        ("Path(`/`)", "/a", None),
        ("Path(`/a`)", "/a/", {}),
        ("Path(`/a/`)", "/a", {}),
        ("Path(`/a//b`)", "/a/b", {}),
        ("Path(`/a/b`)", "//a///b//", {}),
        ("Path(`/a`)", "/A", None),
        ("Path(`/a`)", "/a/b", None),
        ('Path("/a")', "/a", {}),
        ('Path("/\\"q\\"")', "/%22q%22", {}),
        ("Path(`/a b`)", "/a%20b", {}),
        ("Path(`/a%20b`)", "/a%20b", {}),
        ("Path(`/caf%C3%A9`)", "/café", {}),
        ("Path(`/a%2Fb`)", "/a%2Fb", {}),
        ("Path(`/a%2Fb`)", "/a/b", None),
        ("Path(`/a%252Fb`)", "/a%252Fb", {}),
        ("Path(`/{x}`)", "/a%2Fb", {"x": "a/b"}),
        ("Path(`/{x}`)", "/", None),
        ("Path(`/{x}/{y}`)", "/1/2", {"x": "1", "y": "2"}),
        ("Path(`/o/{id:[0-9]+}`)", "/o/12", {"id": "12"}),
        ("Path(`/o/{id:[0-9]+}`)", "/o/12a", None),
        ("Path(`/o/{id:[0-9]{2}}`)", "/o/12", {"id": "12"}),
        ("Path(`/o/{id:[0-9]{2}}`)", "/o/123", None),
        ("Path(`/t/{at:[0-9]+:[0-9]+}`)", "/t/12:30", {"at": "12:30"}),
        ("Path(`/o/{:a|b}`)", "/o/a", {}),
        ("Path(`/o/{:a|b}`)", "/o/ab", None),
        ('Path("/o/{id:\\\\d+}")', "/o/12", {"id": "12"}),
        ("Path(`/o/{p:[^/]+/[^/]+}`)", "/o/a%2Fb", {"p": "a/b"}),
        ("Path(`/f/{rest...}`)", "/f/a/b%20c/", {"rest": "a/b c"}),
        ("Path(`/f/{rest...}`)", "/f/", None),
        ("Path(`/\\{x\\}`)", "/%7Bx%7D", {}),
        ("PathPrefix(`/a`)", "/a", {"path_suffix": "/"}),
        ("PathPrefix(`/a`)", "/a/b/c", {"path_suffix": "/b/c"}),
        ("PathPrefix(`/a`)", "/ab", None),
        ("PathPrefix(`/{x}`)", "/a/b", {"x": "a", "path_suffix": "/b"}),
        ("PathPrefix(`/`)", "/", {"path_suffix": "/"}),
    ],
)
def test_paths(rule: str, path: str, params: Params) -> None:
    assert accepted(rule, GenesisRequest(path=path)) == params


@pytest.mark.parametrize(
    ("rule", "host", "params"),
    [
        ("Host(`example.com`)", "Example.COM:8080", {}),
        ("Host(`EXAMPLE.com.`)", "example.com", {}),
        ("Host(`example.com`)", "www.example.com", None),
        ("Host(`{tenant}.example.com`)", "a.example.com", {"tenant": "a"}),
        ("Host(`{tenant:[a-z]+}.example.com`)", "a1.example.com", None),
        ("Host(`{tenant}.example.com`)", "a.b.example.com", None),
        ("Host(`[::1]`)", "[::1]:8080", {}),
        ("Host(`a`) || Host(`b`)", "b", {}),
    ],
)
def test_hosts(rule: str, host: str, params: Params) -> None:
    assert accepted(rule, GenesisRequest(host=host)) == params


@pytest.mark.parametrize(
    ("rule", "is_accepted"),
    [
        ("Method(`POST`)", True),
        ("Method(`get`, `post`)", True),
        ("Method(`GET`)", False),
        ("Header(`X-Team`, `a`)", True),
        ("Header(`x-team`, `b`)", True),
        ("Header(`x-team`, `c`)", False),
        ("Header(`x-team`, `{[bc]}`)", True),
        ("Header(`x-team`, `{b|c:d}`)", True),
        ("Header(`x-none`, `{.*}`)", False),
        ("Query(`q`, `1`)", True),
        ("Query(`q`, `a b`)", True),
        ("Query(`Q`, `1`)", False),
        ("Query(`q`, `{[0-9]}`)", True),
        ("Query(`empty`, ``)", True),
        ("Query(`flag`, ``)", True),
        ("Type(`http`)", True),
        ("Type(`cron`)", False),
        ("All()", True),
        ("Any()", True),
        ("!All()", False),
        ("!Method(`GET`)", True),
        ("!!Method(`POST`)", True),
        ("!(Method(`POST`) && Type(`http`))", False),
        ("Method(`GET`) || Type(`http`)", True),
        ("Method(`GET`) && Type(`http`)", False),
        ("Method(`GET`) && Type(`cron`) || All()", True),
        ("Method(`GET`) && (Type(`cron`) || All())", False),
    ],
)
def test_other_predicates(rule: str, *, is_accepted: bool) -> None:
    headers: Headers = (("x-team", "a"), ("accept", "*/*"), ("x-team", "b"))
    request = GenesisRequest(
        type=EventType.HTTP,
        method="POST",
        query="q=1&other&q=a+b&empty=&flag",
        headers=headers,
    )

    assert (accepted(rule, request) is not None) == is_accepted


@pytest.mark.parametrize(
    ("rule", "variables", "path", "params"),
    [
        ("Path(`/{{.Vars.sub}}/x`)", {"sub": "a"}, "/a/x", {}),
        ("Path(`/{{ .Env.sub }}/x`)", {"sub": "a"}, "/a/x", {}),
        ("Path(`{{.Vars.sub}}/x`)", {"sub": "/a/b/"}, "/a/b/x", {}),
        ("Path(`/{{.Vars.sub}}/x`)", {"sub": ""}, "/x", {}),
        ("Path(`/v{{.Vars.n}}/x`)", {"n": 2}, "/v2/x", {}),
        ("Path(`/v{{.Vars.n}}`)", {"n": 2.0}, "/v2", {}),
        ("Path(`/v{{.Vars.n}}`)", {"n": 2.5}, "/v2.5", {}),
        ("Path(`/{{.Vars.on}}`)", {"on": True}, "/true", {}),
        ("Path(`/{{.Vars.sub}}/{id}`)", {"sub": ["a", "b/c"]}, "/b/c/7", {"id": "7"}),
        ("Path(`/{{.Vars.sub}}/{id}`)", {"sub": ["a", "b"]}, "/c/7", None),
        ("Path(`/{{.Vars.sub}}`)", {"sub": []}, "/", None),
        ("Path(`/{{.Vars.sub}}`)", {"sub": "{x}"}, "/a", None),
        ("Path(`/{{.Vars.sub}}`)", {"sub": "{x}"}, "/%7Bx%7D", {}),
        ("Path(`/{{.Vars.sub}}`)", {"sub": "`) || All() || Path(`"}, "/a", None),
        ("Path(`/{id:{{.Vars.word}}}`)", {"word": "a.c"}, "/a.c", {"id": "a.c"}),
        ("Path(`/{id:{{.Vars.word}}}`)", {"word": "a.c"}, "/abc", None),
        ("Path(`/{id:x{{.Vars.word}}+}`)", {"word": ["a", "b"]}, "/xab", {"id": "xab"}),
    ],
)
def test_variables_in_paths(
    rule: str, variables: dict[str, Value], path: str, params: Params
) -> None:
    assert accepted(rule, GenesisRequest(path=path), **variables) == params


def test_variables_elsewhere() -> None:
    rule = (
        "Host(`{{.Vars.host}}`) && Method(`{{.Vars.methods}}`) && Header(`x`, `{{.Vars.x}}`)"
        " && Query(`{{.Vars.key}}`, `{v{{.Vars.n}}}`) && Type(`{{.Vars.type}}`)"
    )
    variables: dict[str, Value] = {
        "host": ["a.example.com", "b.example.com:80"],
        "methods": ["get", "put"],
        "x": "1",
        "key": "k",
        "n": 2,
        "type": "http",
    }
    request = GenesisRequest(
        host="b.example.com", method="PUT", query="k=v2", headers=(("x", "1"),)
    )

    assert accepted(rule, request, **variables) == {}


def test_a_refused_branch_leaves_no_parameters() -> None:
    rule = "(Path(`/{a}/{b}`) && Method(`PUT`)) || Path(`/{c}/{d}`)"

    assert accepted(rule, GenesisRequest(path="/1/2")) == {"c": "1", "d": "2"}
    assert accepted("!Path(`/{a}`)", GenesisRequest(path="/1/2")) == {}


def test_a_conjunction_joins_parameters() -> None:
    rule = "Host(`{tenant}.example.com`) && Path(`/{id}`)"

    found = accepted(rule, GenesisRequest(host="a.example.com", path="/7"))

    assert found == {"tenant": "a", "id": "7"}


@pytest.mark.parametrize(
    ("rule", "column", "found", "expected"),
    [
        ("", 1, "end", "predicate"),
        ("   ", 4, "end", "predicate"),
        ("Path", 5, "end", "'('"),
        ("Path(", 6, "end", "string"),
        ("Path(`/a`", 10, "end", "')'"),
        ("Path(`/a", 9, "end", "'`'"),
        ('Path("/a', 9, "end", "'\"'"),
        ('Path("/\\d")', 9, "'d'", "backslash"),
        ("Path(/a)", 6, "'/'", "string"),
        ("Path(`/a`) Path(`/b`)", 12, "'P'", "'&&'"),
        ("Path(`/a`) & Path(`/b`)", 12, "'&'", "'&&'"),
        ("Path(`/a`) &&", 14, "end", "predicate"),
        ("(Path(`/a`)", 12, "end", "')'"),
        ("Path(`/a`))", 11, "')'", "'||'"),
        ("Header(`a` `b`)", 12, "'`'", "','"),
        ("Header(`a`)", 1, "1 strings", "2: Header"),
        ("Method()", 1, "0 strings", "at least 1"),
        ("All(`a`)", 1, "1 strings", "All()"),
        ("All() && Foo(`a`)", 10, "Foo", "PathPrefix"),
        ("Path(`a`)", 7, "'a'", "'/'"),
        ("Path(``)", 7, "nothing", "'/'"),
        ("Path(`/a{b}`)", 9, "'{'", "between"),
        ("Path(`/{a}b`)", 8, "'{'", "between"),
        ("Path(`/{{.Vars.x}}{id}`)", 19, "'{'", "between"),
        ("Path(`/{a`)", 10, "end", "'}'"),
        ("Path(`/a}`)", 9, "'}'", "'{'"),
        ("Path(`/{}`)", 9, "''", "name"),
        ("Path(`/{1a}`)", 9, "'1a'", "name"),
        ("Path(`/{a b}`)", 9, "'a b'", "name"),
        ("Path(`/{a{{.Vars.x}}}`)", 9, "a", "name"),
        ("Path(`/{a}/{a}`)", 12, "a again", "another"),
        ("Path(`/{a...}/b`)", 8, "{a...}", "only at the end"),
        ("Path(`/{a:[}`)", 9, "missing ]", "regular"),
        ("Path(`/{a:(?=b)}`)", 9, "(?=", "regular"),
        ("PathPrefix(`/{a...}`)", 13, "tail", "PathPrefix"),
        ("Host(`{a...}`)", 7, "tail", "path"),
        ("Host(`a:80`)", 8, "':'", "port"),
        ("Header(`{a}`, `b`)", 9, "'{'", "literal"),
        ("Header(`a`, `x{b}`)", 15, "'{'", "whole value"),
        ("Query(`a`, `{(}`)", 14, "missing )", "regular"),
        ("Method(`{a}`)", 9, "'{'", "literal"),
        ("Path(`/{{.Vars}}`)", 8, "unfinished", ".Vars.name"),
        ("Path(`/{{.Foo.x}}`)", 8, ".Foo", ".Vars or .Env"),
        ("Path(`/{{.Secrets.x}}`)", 8, "secret x", "never"),
        ("Path(`/{a}`) && Path(`/{a}`)", 17, "parameter a again", "once"),
        ("Path(`/{a}`) && (All() || Host(`{a}`))", 18, "parameter a again", "once"),
    ],
)
def test_a_rule_error_has_column_found_and_expected_text(
    rule: str, column: int, found: str, expected: str
) -> None:
    with pytest.raises(RuleError) as caught:
        compile_rule(rule)

    assert caught.value.column == column
    assert found in caught.value.found
    assert expected in caught.value.expected
    assert caught.value.detail.startswith(f"column {column}: found ")


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("Foo(`a`)", "UnknownPredicate"),
        ("Path(`/{{.Secrets.x}}`)", "SecretInRule"),
        ("Path(", "RuleSyntax"),
    ],
)
def test_errors_have_a_kind(rule: str, kind: str) -> None:
    with pytest.raises(RuleError) as caught:
        compile_rule(rule)

    assert caught.value.kind == kind


def test_depth_and_length_are_bounded() -> None:
    compile_rule(f"{'!' * (MAX_DEPTH - 1)}All()")
    with pytest.raises(RuleError, match="levels"):
        compile_rule(f"{'!' * MAX_DEPTH}All()")
    with pytest.raises(RuleError, match="levels"):
        compile_rule("(" * 1_000)
    with pytest.raises(RuleError, match="at most"):
        compile_rule(f"Path(`/{'a' * MAX_LENGTH}`)")


@pytest.mark.parametrize(
    ("rule", "length"),
    [
        ("Path(`/a`)", 10),
        ("  Path(`/a`) ", 10),
        ("Path(`/{id}`)", 11),
        ("Path(`/{id:[0-9]+}`)", 11),
        ('Path("/{id:\\\\d+}")', 11),
        ("Path(`/{{.Vars.word}}`)", 13),
        ("Path(`/{{.Vars.list}}`)", 11),
        ("Path(`/{id:{{.Vars.word}}}`)", 11),
        ("Query(`q`, `{a|b}`)", 15),
    ],
)
def test_the_length_is_that_of_the_resolved_rule(rule: str, length: int) -> None:
    values = {"word": ResolvedValue(("abcd",)), "list": ResolvedValue(("a", "b"), is_list=True)}

    assert rank_of(0, compile_rule(rule), values) == (0, length)


def test_priority_overrides_length() -> None:
    routes = [
        Route(id=0, rule="Path(`/a`) && Method(`GET`)"),
        Route(id=1, rule="Path(`/{x}`)"),
        Route(id=2, rule="All()", priority=1),
        Route(id=3, rule="Path(`/a`) && Method(`GET`) && All()", priority=-1),
    ]

    request = GenesisRequest(path="/a")

    assert matched(routes, {}, request) == (2, {})
    assert matched([*routes[:2], routes[3]], {}, request) == (0, {})


def test_too_many_alternatives_are_a_problem_not_an_error() -> None:
    rule = "Path(`/{{.Vars.a}}/{{.Vars.a}}`)"
    texts: list[str | float] = [f"{number}/x" for number in range(40)]

    table = compile_table([ComponentRoutes("c", (Route(id=0, rule=rule),))], [{"a": texts}])

    assert table.routes == ()
    assert [problem.type for problem in table.problems] == ["RuleTooLarge"]


def test_the_alternatives_of_all_rules_of_a_table_are_limited_together() -> None:
    routes = tuple(Route(id=at, rule=f"Path(`/{at}-{{{{.Vars.a}}}}`)") for at in range(3))
    texts: list[str | float] = [str(number) for number in range(MAX_ALTERNATIVES // 2)]

    table = compile_table([ComponentRoutes("c", routes)], [{"a": texts}])

    assert [route.route.id for route in table.routes] == [0, 1]
    assert [problem.path for problem in table.problems] == ["components.c.routes[2].rule"]


@pytest.mark.parametrize(
    ("rule", "path", "host", "other"),
    [
        ("Path(`/{{.Vars.a}}/x`)", "/v999/x", "", "/v1000/x"),
        ("Path(`/x-{{.Vars.a}}`)", "/x-v999", "", "/x-v1000"),
        ("Path(`/{{.Vars.b}}/x`)", "/v99/y/x", "", "/v99/x/x"),
        ("Path(`/{{.Vars.c}}/x`)", "/v9/w9/x", "", "/v9/w8/x"),
        ("Host(`{{.Vars.a}}`) && Path(`/x`)", "/x", "v999", "/y"),
        ("Host(`{{.Vars.c}}.{x}`) && Path(`/x`)", "/x", "v9/w9.y", "/y"),
    ],
)
def test_a_long_list_is_one_alternative_of_a_pattern(
    rule: str, path: str, host: str, other: str
) -> None:
    values: dict[str, Value] = {
        "a": [f"v{number}" for number in range(1_000)],
        "b": [f"v{number}/y" for number in range(100)],
        "c": [f"v{number}/w{number}" for number in range(100)],
    }
    table = compile_table([ComponentRoutes("c", (Route(id=0, rule=rule),))], [values])

    assert table.problems == ()
    assert table.match(Facts(GenesisRequest(path=path, host=host)))
    assert table.match(Facts(GenesisRequest(path=other, host=host))) is None
    assert len(table.routes[0].index_keys()) == 1


def test_a_method_list_too_long_for_the_index_still_matches() -> None:
    rule = "Method(`A`, `B`, `C`, `D`, `E`, `GET`)"

    assert accepted(rule, GenesisRequest()) == {}
