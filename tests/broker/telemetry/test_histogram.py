"""Histograms of durations: sums, differences and quantiles."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.telemetry.figures import EventLabels
from broker.telemetry.histogram import BOUNDS_S, Durations, merged
from broker.telemetry.metrics import Series, count_duration, count_queue_time

durations = st.lists(st.floats(min_value=0, max_value=60), max_size=50)


def counted(seconds: list[float]) -> Durations:
    series = Series(EventLabels("api"))
    for duration_s in seconds:
        count_queue_time(series.counters, round(duration_s * 1e9))
    return series.figures().queue


@given(durations, durations)
def test_two_histograms_added_are_the_histogram_of_both(a: list[float], b: list[float]) -> None:
    both = merged([counted(a), counted(b)])

    assert both.counts == counted(a + b).counts
    assert both.total_s == pytest.approx(sum(a + b))


@given(durations, durations)
def test_minus_returns_the_durations_counted_since(before: list[float], since: list[float]) -> None:
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
def test_negative_durations_count_as_zero(ns: list[int]) -> None:
    series = Series(EventLabels("api"))
    for duration_ns in ns:
        count_duration(series.counters, 200, duration_ns)

    (found,) = series.figures().by_class.values() or [Durations()]
    assert found.count == len(ns)
    assert (
        0 <= found.total_s <= sum(duration_ns for duration_ns in ns if duration_ns > 0) / 1e9 + 1e-9
    )


def test_without_durations_there_is_no_quantile() -> None:
    assert Durations().quantile_s(0.5) is None
    assert merged([]).quantile_s(0.5) is None


def test_durations_above_the_last_bound_are_in_the_overflow_bucket() -> None:
    assert counted([1_000.0]).quantile_s(0.5) == BOUNDS_S[-1]


def test_minus_is_never_negative() -> None:
    assert counted([]).minus(counted([0.1])).count == 0
