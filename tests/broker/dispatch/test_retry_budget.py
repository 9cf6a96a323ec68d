"""The retry budget: some retries always, a share of the requests, and not more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.dispatch.retry_budget import MINIMUM, RATIO, WINDOW_S, RetryBudget

STEP = st.tuples(st.floats(0, 30), st.integers(0, 500), st.integers(0, 50))


def test_without_requests_a_window_has_the_minimum_of_retries() -> None:
    budget = RetryBudget(0)

    assert [budget.try_spend(0) for _ in range(11)] == [True] * 10 + [False]
    assert budget.try_spend(WINDOW_S)


def test_requests_earn_a_share_of_retries() -> None:
    budget = RetryBudget(0, ratio=0.2, minimum=1)
    budget.requests = 100

    assert sum(budget.try_spend(1) for _ in range(100)) == 21


def test_requests_of_an_earlier_window_earn_nothing() -> None:
    budget = RetryBudget(0, ratio=0.2, minimum=1)
    budget.requests = 1_000

    # 1,000 requests in 100 s are 100 in the last 10 s.
    assert sum(budget.try_spend(100) for _ in range(100)) == 21


@given(st.floats(0, 10))
def test_time_that_has_passed_takes_no_retry_away(now_s: float) -> None:
    budget = RetryBudget(0)
    budget.requests = 30

    assert sum(budget.try_spend(now_s) for _ in range(30)) == 16


@given(st.lists(STEP))
def test_retries_are_a_share_of_all_requests_and_the_minimum(
    steps: list[tuple[float, int, int]],
) -> None:
    budget = RetryBudget(0)
    now_s = requests = retries = 0.0

    for passed_s, sent, failed in steps:
        now_s += passed_s
        requests += sent
        budget.requests += sent
        retries += sum(budget.try_spend(now_s) for _ in range(failed))

    assert retries <= MINIMUM * (1 + now_s / WINDOW_S) + RATIO * requests + 1e-6


@given(st.lists(STEP))
def test_after_a_quiet_window_the_minimum_is_there(steps: list[tuple[float, int, int]]) -> None:
    budget = RetryBudget(0)
    now_s = 0.0
    for passed_s, sent, failed in steps:
        now_s += passed_s
        budget.requests += sent
        for _ in range(failed):
            budget.try_spend(now_s)

    assert all(budget.try_spend(now_s + WINDOW_S + 1e-3) for _ in range(int(MINIMUM)))
