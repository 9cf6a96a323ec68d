"""The time that a client may let the adapter wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.http.pace import Pace, describe_slowness


def test_a_client_may_pause_for_the_grace_time() -> None:
    pace = Pace(10, 100)

    pace.note(9, 0)
    assert not pace.is_over
    pace.note(1, 0)
    assert pace.is_over


def test_a_client_below_the_minimum_rate_runs_out_of_time() -> None:
    pace = Pace(10, 100)

    for _ in range(9):
        pace.note(2, 100)
        assert not pace.is_over
    pace.note(2, 100)
    assert pace.is_over


@given(st.floats(0.1, 1), st.integers(1, 100))
def test_a_client_at_the_minimum_rate_never_runs_out_of_time(wait_s: float, steps: int) -> None:
    pace = Pace(1.5, 1_000)

    for _ in range(steps):
        pace.note(wait_s, 1_000)
        assert not pace.is_over


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 10_000))))
def test_the_time_left_never_exceeds_the_grace_time(steps: list[tuple[float, int]]) -> None:
    pace = Pace(10, 100)

    for wait_s, moved_bytes in steps:
        pace.note(wait_s, moved_bytes)
        assert pace.left_s <= 10


def test_without_a_minimum_rate_any_byte_gives_the_whole_time_back() -> None:
    pace = Pace(10, 0)

    pace.note(9, 1)

    assert pace.left_s == 10


def test_a_message_names_the_minimum_rate_only_if_one_is_set() -> None:
    assert describe_slowness("sent", 240.0) == ", or sent less than 240 bytes a second"
    assert not describe_slowness("sent", 0)
