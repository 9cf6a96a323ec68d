"""Priority and ties: which of several accepting routes wins."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest

from routing.language.template import ResolvedValue
from routing.table.compiled_rule import compile_rule
from routing.table.priority import (
    Names,
    Rank,
    Recency,
    best_first,
    order_in_table,
    rank_of,
    tie_key,
    tie_key_for_any_values,
    wins_over,
)


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    rank: Rank = (0, 10)
    recency: Recency = (1, "r1")
    names: Names = ("web", 0, "shop", "team-a")


IN_ORDER = (
    Contender(rank=(1, 5)),
    Contender(rank=(0, 20)),
    Contender(recency=(2, "r1")),
    Contender(recency=(1, "r2")),
    Contender(names=("api", 7, "shop", "team-a")),
    Contender(),
    Contender(names=("web", 1, "shop", "team-a")),
    Contender(names=("web", 1, "shop", "team-b")),
)


def test_priority_then_length_then_recency_then_names_decide() -> None:
    for number, first in enumerate(IN_ORDER):
        for later in IN_ORDER[number + 1 :]:
            assert wins_over(first, later)
            assert not wins_over(later, first)


def test_best_first_does_not_depend_on_the_order_given() -> None:
    for given in permutations(IN_ORDER[2:7]):
        assert best_first(given) == list(IN_ORDER[2:7])
    assert best_first(reversed(IN_ORDER)) == list(IN_ORDER)


def test_in_a_table_the_smallest_key_wins() -> None:
    keys = [
        order_in_table((1, 5), "web", 9),
        order_in_table((0, 20), "web", 9),
        order_in_table((0, 10), "api", 9),
        order_in_table((0, 10), "web", 0),
        order_in_table((0, 10), "web", 1),
    ]

    assert keys == sorted(keys)


def test_a_list_counts_like_a_capture() -> None:
    rule = compile_rule("Path(`/{{.Vars.x}}/{id}`)")

    assert rank_of(3, rule, {"x": ResolvedValue(("ab",))}) == (3, len("Path(`/ab/{}`)"))
    assert rank_of(0, rule, {"x": ResolvedValue(("a", "b"), is_list=True)}) == (
        0,
        len("Path(`/{}/{}`)"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "Path(`/a b`)&&Method(`GET`,`PUT`)",
        "  Path( `/a b` )  &&\n Method(`GET`, `PUT`) ",
    ],
)
def test_blanks_outside_strings_do_not_count_for_the_length(text: str) -> None:
    assert rank_of(0, compile_rule(text), {}) == (0, len("Path(`/a b`)&&Method(`GET`,`PUT`)"))


def test_blanks_in_quoted_strings_count_for_the_length() -> None:
    rule = compile_rule('Header("x", "a \\" b")')

    assert rank_of(0, rule, {}) == (0, len('Header("x","a \\" b")'))


@pytest.mark.parametrize(
    ("rule", "other", "is_tie"),
    [
        ("Path(`/{a}`)", "Path(`/{b}`)", True),
        ("Method(`GET`) && Path(`/a`)", "Path(`/a`) && Method(`GET`)", True),
        ("Path(`/a`)", "Path(`/b`)", False),
    ],
)
def test_routes_tie_if_they_accept_the_same_requests(
    rule: str, other: str, *, is_tie: bool
) -> None:
    keys = [tie_key((0, 1), compile_rule(text).build({})) for text in (rule, other)]

    assert (keys[0] == keys[1]) is is_tie


def test_routes_of_different_rank_do_not_tie() -> None:
    predicate = compile_rule("Path(`/a`)").build({})

    assert tie_key((0, 1), predicate) != tie_key((1, 1), predicate)


def test_for_any_values_different_variables_do_not_tie() -> None:
    values = {name: ResolvedValue((f"value-of-{name}",)) for name in ("x", "y")}
    first, same, other = (
        tie_key_for_any_values(0, rule, rule.build(values))
        for rule in map(
            compile_rule, ("Path(`/{{.Vars.x}}`)", "Path(`/{{.Env.x}}`)", "Path(`/{{.Vars.y}}`)")
        )
    )

    assert first == same
    assert first != other
