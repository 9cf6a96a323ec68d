"""Lanes share an amount fairly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.runtime.fair_share import FairShare


def fill(share: FairShare, lane: str) -> int:
    """Take for a lane until nothing is left for it; return what it has."""
    while share.try_take(lane):
        pass
    return share.of(lane)


def test_a_lane_alone_gets_the_limit() -> None:
    assert fill(FairShare(9), "a") == 9


def test_a_second_lane_gets_a_part_beside_one_that_has_all_it_may() -> None:
    share = FairShare(9)
    fill(share, "a")

    assert fill(share, "b") == 5


def test_lanes_that_give_back_and_take_again_come_to_have_the_same() -> None:
    share = FairShare(30)
    lanes = ("a", "b", "c")
    for lane in lanes:
        fill(share, lane)

    for turn in range(300):
        lane = lanes[turn % 3]
        share.release(lane)
        for taker in sorted(lanes, key=share.of):
            share.try_take(taker)

    taken = [share.of(lane) for lane in lanes]
    assert max(taken) - min(taken) <= 1


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.booleans())),
)
def test_no_lane_gets_more_than_the_limit_and_all_less_than_twice_as_much(
    limit: int, steps: list[tuple[str, int, bool]]
) -> None:
    share = FairShare(limit)
    own = dict.fromkeys("abcd", 0)

    for lane, amount, takes in steps:
        if takes:
            could = share.has_room(lane, amount)
            took = share.try_take(lane, amount)
            assert took == could
            own[lane] += amount * took
        elif amount <= own[lane]:
            own[lane] -= amount
            share.release(lane, amount)

    assert {lane: share.of(lane) for lane in own} == own
    assert share.taken == sum(own.values()) <= 2 * limit
    assert max(own.values()) <= limit


@given(st.integers(1, 5), st.lists(st.sampled_from("abcdef"), max_size=60))
def test_a_lane_finds_something_while_it_has_less_than_is_free(
    limit: int, wanted: list[str]
) -> None:
    share = FairShare(limit)

    for lane in wanted:
        own, taken = share.of(lane), share.taken
        assert share.try_take(lane) == (own < 2 * limit - taken)


@given(st.lists(st.sampled_from("abcdef"), max_size=60))
def test_lanes_that_have_given_all_back_leave_nothing(wanted: list[str]) -> None:
    share = FairShare(4)
    taken = [lane for lane in wanted if share.try_take(lane)]

    for lane in taken:
        share.release(lane)

    assert share.taken == 0
    assert not share._taken_by
