"""Groups of names: small and large ones, changed by a builder, agree with sets."""

from __future__ import annotations

from collections import defaultdict

import hypothesis.strategies as st
from hypothesis import given
from immutables import Map

from routing.snapshot import name_groups
from routing.snapshot.name_groups import MAX_TUPLE, GroupsBuilder, Names

KEYS = ("a", "b", "c")
NAMES = [f"n{number}" for number in range(2 * MAX_TUPLE)]


@given(st.lists(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(NAMES)))))
def test_groups_agree_with_sets_and_earlier_groups_stay(
    batches: list[list[tuple[str, str]]],
) -> None:
    expected: defaultdict[str, set[str]] = defaultdict(set)
    groups: Map[str, Names] = Map()
    for batch in batches:
        before, shown = groups, contents(groups)
        builder = GroupsBuilder(groups)
        for key, name in batch:
            if name in expected[key]:
                builder.remove(key, name)
            else:
                builder.add(key, name)
            expected[key] ^= {name}
        groups = builder.finish()

        assert contents(groups) == {key: names for key, names in expected.items() if names}
        assert contents(before) == shown
    for names in groups.values():
        assert isinstance(names, Map) == (len(names) > MAX_TUPLE)


def contents(groups: Map[str, Names]) -> dict[str, set[str]]:
    return {key: set(names) for key, names in groups.items()}


def test_only_so_many_large_groups_are_open_at_once() -> None:
    builder: GroupsBuilder[int] = GroupsBuilder(Map())

    for key in range(2 * name_groups._MAX_OPEN):
        for name in NAMES:
            builder.add(key, name)
        assert len(builder._large) <= name_groups._MAX_OPEN

    assert {len(names) for names in builder.finish().values()} == {len(NAMES)}
