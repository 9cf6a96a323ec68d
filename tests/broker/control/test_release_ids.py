"""Ids of releases sort by time and tell it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.control.release_ids import made_at_s, new_release_id

TIMES = st.integers(min_value=0, max_value=4_102_444_800)


@given(TIMES)
def test_an_id_tells_when_it_was_made(now_s: int) -> None:
    assert made_at_s(new_release_id(now_s + 0.5)) == now_s


@given(TIMES, TIMES)
def test_ids_sort_by_time(one_s: int, other_s: int) -> None:
    one, other = new_release_id(one_s), new_release_id(other_s)

    assert (one_s < other_s) <= (one < other)


@given(st.text())
def test_ids_of_another_make_tell_no_time(text: str) -> None:
    assert made_at_s(f"x{text}") is None
