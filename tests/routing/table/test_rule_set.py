"""Rule sets share tables between deployments and environments."""

from __future__ import annotations

import gc
import weakref

from kubefox.component import Value
from routing.language.facts import Facts
from routing.request import GenesisRequest
from routing.table.matcher import Match, Table
from routing.table.rule_set import rule_set
from tests.routing.world import definition


def test_environments_share_routes_and_differ_in_segment_values() -> None:
    rules = rule_set([definition("ui", "Path(`/{{.Vars.a}}/{id}`)", "Path(`/{{.Vars.b}}/x`)")])
    first, second = (rules.table([{"a": value, "b": 7}]) for value in ("one", "two"))

    def match(table: Table, path: str) -> Match:
        found = table.match(Facts(GenesisRequest(path=path)))
        assert found is not None
        return found

    assert match(first, "/one/9") == (match(second, "/two/9")[0], {"id": "9"})
    assert match(first, "/7/x")[0] is match(second, "/7/x")[0]
    assert first.match(Facts(GenesisRequest(path="/two/9"))) is None
    assert [route.resolved_text for route in first.routes] == ["Path(`/one/{id}`)", "Path(`/7/x`)"]


def test_the_length_of_segment_values_decides_which_route_wins() -> None:
    rules = rule_set([definition("ui", "Path(`/{{.Vars.a}}/{x}`)", "Path(`/{y}/{{.Vars.b}}`)")])

    def winner(a: str, b: str) -> int:
        found = rules.table([{"a": a, "b": b}]).match(Facts(GenesisRequest(path=f"/{a}/{b}")))
        assert found is not None
        return found[0].route.id

    assert winner("long", "b") == 0
    assert winner("a", "longer") == 1
    assert winner("same", "size") == 0


def test_a_value_that_is_not_one_segment_gets_its_own_table() -> None:
    rules = rule_set([definition("ui", "Path(`/{{.Vars.a}}/{id}`)")])

    values: dict[str, Value] = {"/two/9": ["one", "two"], "/one/two/9": "one/two", "/n/9": "%6E"}
    for path, value in values.items():
        assert rules.table([{"a": value}]).match(Facts(GenesisRequest(path=path)))


def test_a_table_is_dropped_with_its_last_binding() -> None:
    rules = rule_set([definition("ui", "Path(`/gone`)")])
    table = weakref.ref(rules.table([{}]))
    gc.collect()

    assert table() is None
