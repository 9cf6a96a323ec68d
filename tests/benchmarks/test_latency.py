"""A percentile is a measured latency: the smallest that covers this share of all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.support.latency import Latencies, latencies, percentile

TIMES_NS = st.lists(st.integers(0, 10**10), min_size=1)


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50), (90, 90), (99, 99), (99.9, 100), (100, 100), (0.5, 1)]
)
def test_a_percentile_of_1_to_100_is_its_number(percent: float, expected: int) -> None:
    assert percentile(range(1, 101), percent) == expected


def test_the_median_of_an_even_count_is_the_lower_value() -> None:
    assert percentile([1, 2, 3, 4], 50) == 2


@given(TIMES_NS, st.floats(0.1, 100))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(
    times: list[int], percent: float
) -> None:
    ordered = sorted(times)

    found = percentile(ordered, percent)

    covered = sum(time <= found for time in ordered)
    below = sum(time < found for time in ordered)
    assert found in ordered
    assert covered * 100 >= percent * len(ordered) * (1 - 1e-9)
    assert below * 100 <= percent * len(ordered) * (1 + 1e-9)


def test_latencies_are_in_microseconds_for_times_in_any_order() -> None:
    found = latencies([3_000, 1_000, 2_000])

    assert (found.p50_us, found.p99_us, found.max_us) == (2, 3, 3)


def test_latencies_without_an_answer_are_0() -> None:
    assert latencies([]) == Latencies()
