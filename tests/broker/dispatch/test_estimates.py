"""Estimates from the last times: a single one says little, many are followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.dispatch.estimates import LEAST_SAMPLES, MOST_GROWTH, Estimate, StartInterval

times = st.floats(0.001, 100)


def estimate_of(*times_s: float) -> Estimate:
    estimate = Estimate()
    for time_s in times_s:
        estimate.add(time_s)
    return estimate


@given(st.lists(times, max_size=LEAST_SAMPLES - 1))
def test_a_few_times_are_no_estimate(few: list[float]) -> None:
    assert estimate_of(*few).seconds == 0


@given(times, st.integers(LEAST_SAMPLES, 50))
def test_equal_times_are_their_own_estimate(time_s: float, count: int) -> None:
    assert estimate_of(*[time_s] * count).seconds == pytest.approx(time_s)


@given(times, st.floats(0, 1e9))
def test_a_single_time_moves_an_estimate_a_little(time_s: float, single_s: float) -> None:
    estimate = estimate_of(*[time_s] * 20, single_s)

    assert 0.8 * time_s <= estimate.seconds <= (1 + MOST_GROWTH / 8) * time_s


@given(st.floats(0.001, 0.01), st.floats(1, 10))
def test_an_estimate_follows_times_that_stay_long(short_s: float, long_s: float) -> None:
    estimate = estimate_of(*[short_s] * 20, *[long_s] * 100)

    assert estimate.seconds == pytest.approx(long_s, rel=0.1)


def test_the_time_without_waiting_events_is_left_out() -> None:
    interval = StartInterval()
    now_s = 0.0
    for _ in range(LEAST_SAMPLES + 1):
        interval.measure(now_s, is_next_waiting=True)
        now_s += 0.01
    interval.measure(now_s, is_next_waiting=False)
    interval.measure(now_s + 1000, is_next_waiting=True)

    assert interval.seconds == pytest.approx(0.01)
