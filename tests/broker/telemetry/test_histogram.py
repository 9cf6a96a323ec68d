"""Durations in buckets: what goes in comes out, within a bucket."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.telemetry.figures import Labels
from broker.telemetry.histogram import BOUNDS_S, Durations, merged
from broker.telemetry.metrics import Series, end

durations = st.lists(st.floats(min_value=0, max_value=60), max_size=50)


def counted(seconds: list[float]) -> Durations:
    series = Series(Labels("api"))
    for each in seconds:
        end(series.words, 200, 0, round(each * 1e9))
    return series.figures().queue


@given(durations, durations)
def test_two_histograms_added_are_the_histogram_of_both(a: list[float], b: list[float]) -> None:
    both = merged([counted(a), counted(b)])

    assert both.counts == counted(a + b).counts
    assert both.total_s == pytest.approx(sum(a + b))


@given(durations, durations)
def test_what_came_since_is_the_difference(before: list[float], since: list[float]) -> None:
    found = counted(before + since).minus(counted(before))

    assert found.counts == counted(since).counts
    assert found.total_s == pytest.approx(sum(since), abs=1e-6)


@given(durations.filter(bool), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(seconds: list[float], share: float) -> None:
    ordered = sorted(seconds)
    true = next(each for at, each in enumerate(ordered, 1) if at >= share * len(ordered))

    found = counted(seconds).quantile_s(share)

    at = bisect_left(BOUNDS_S, true)
    assert found is not None
    assert ([0.0, *BOUNDS_S][at]) <= found <= BOUNDS_S[at]


@given(st.lists(st.integers(min_value=-(10**15), max_value=10**10), max_size=50))
def test_a_clock_that_was_set_back_costs_no_count_and_adds_no_time(ns: list[int]) -> None:
    series = Series(Labels("api"))
    for each in ns:
        end(series.words, 200, each)

    (found,) = series.figures().by_class.values() or [Durations()]
    assert found.count == len(ns)
    assert 0 <= found.total_s <= sum(each for each in ns if each > 0) / 1e9 + 1e-9


def test_without_durations_there_is_no_quantile() -> None:
    assert Durations().quantile_s(0.5) is None
    assert merged([]).quantile_s(0.5) is None


def test_what_is_longer_than_all_bounds_counts_as_the_last() -> None:
    assert counted([1_000.0]).quantile_s(0.5) == BOUNDS_S[-1]


def test_a_difference_is_never_below_nothing() -> None:
    assert counted([]).minus(counted([0.1])).count == 0
