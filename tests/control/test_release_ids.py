"""Ids of releases contain their time, and sort by it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control.release_ids import creation_time_s, new_release_id

TIMES = st.integers(min_value=0, max_value=4_102_444_800)


@given(TIMES)
def test_an_id_contains_its_time(now_s: int) -> None:
    assert creation_time_s(new_release_id(now_s + 0.5)) == now_s


@given(TIMES, TIMES)
def test_ids_sort_by_time(one_s: int, other_s: int) -> None:
    one, other = new_release_id(one_s), new_release_id(other_s)

    assert (one_s < other_s) <= (one < other)


@given(st.text())
def test_an_id_of_another_format_has_no_time(text: str) -> None:
    assert creation_time_s(f"x{text}") is None
