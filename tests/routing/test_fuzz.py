"""For any text the parser returns a rule or raises RuleError, and nothing else."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from kubefox.component import Route
from routing.language.facts import Facts
from routing.language.rule import RuleError
from routing.request import GenesisRequest
from routing.table.compiled_rule import Rule, compile_rule
from routing.table.matcher import ComponentRoutes, compile_table

PIECES = [
    "Path", "PathPrefix", "Host", "Method", "Header", "Query", "Type", "All", "(", ")", "`", '"',
    "/", "a", "{", "}", "{{.Vars.x}}", "{{", "}}", ":", "...", "\\", ",", " ", "&&", "||", "!",
    "[0-9]+", "(a", "*", "%2F", "%", ".", "\0", "é", "\ud800", "{a:", "$", "^",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=40)


def rule_or_error(text: str) -> Rule | RuleError:
    try:
        return compile_rule(text)
    except RuleError as error:
        return error


@given(texts)
@example("Path(`/{a:\ud800}`)")
@example("Path(`/\ud800`)")
def test_a_text_is_a_rule_or_a_rule_error(text: str) -> None:
    found = rule_or_error(text)

    if isinstance(found, RuleError):
        assert 1 <= found.column <= len(text) + 1
        assert found.found
        assert found.expected
    else:
        assert found.text == text


@given(texts, st.text(max_size=20), st.text(max_size=20), st.text(max_size=10))
@example("Path(`/{a:.*}`)", "/\ud800", "", "")
def test_any_rule_can_be_matched_with_any_request(
    text: str, path: str, query: str, value: str
) -> None:
    routes = (Route(id=0, rule=text),)

    table = compile_table([ComponentRoutes("c", routes)], [{"x": value}])
    table.match(Facts(GenesisRequest(path=path, query=query, host=value)))

    assert len(table.routes) + len(table.problems) == 1
