"""Groups of members: what is in them, and how they grow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routing.snapshot.member_groups import MemberGroups

KEYS = st.tuples(st.sampled_from(("deployment", "own")), st.text("abc", max_size=2))
CHANGES = st.lists(st.tuples(st.booleans(), KEYS, st.text("xyz", min_size=1, max_size=1)))


@given(changes=CHANGES)
def test_groups_have_the_members_that_were_added_and_not_removed(
    changes: list[tuple[bool, tuple[str, str], str]],
) -> None:
    groups: MemberGroups[tuple[str, str]] = MemberGroups()
    expected: dict[tuple[str, str], set[str]] = {}
    for is_added, key, member in changes:
        if is_added:
            groups.add(key, member)
            expected.setdefault(key, set()).add(member)
        elif member in expected.get(key, ()):
            groups.remove(key, member)
            expected[key].remove(member)
    expected = {key: members for key, members in expected.items() if members}

    assert len(groups) == len(expected)
    assert {key: set(groups.of(key)) for key in groups} == expected
    assert all(key in groups for key in expected)
    assert ("none", "") not in groups
    assert groups.of(("none", "")) == ()


def test_no_dictionary_holds_a_large_part_of_many_groups() -> None:
    groups: MemberGroups[tuple[str, str]] = MemberGroups()

    for number in range(20_000):
        groups.add(("deployment", f"preview-{number}"), "team-a")

    assert max(map(len, groups._parts)) < 1_000
