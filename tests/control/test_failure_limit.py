"""The limit of refused requests: for each address, in bounded memory."""

from __future__ import annotations

import pytest

from control.access.failure_limit import FailureLimit


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_failures_over_the_burst_are_limited_until_time_has_passed() -> None:
    clock = Clock()
    limit = FailureLimit(burst=3, per_s=1, now=clock)

    at_once = [limit.is_within("10.0.0.1") for _ in range(5)]
    clock.now_s = 2
    later = [limit.is_within("10.0.0.1") for _ in range(3)]

    assert at_once == [True, True, True, False, False]
    assert later == [True, True, False]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "127.0.0.1", False),
    ],
)
def test_each_client_has_a_limit_of_its_own(one: str, other: str, is_same: bool) -> None:
    limit = FailureLimit(burst=1, per_s=1, now=Clock())
    limit.is_within(one)

    assert limit.is_within(other) is not is_same


def test_many_addresses_take_bounded_memory() -> None:
    limit = FailureLimit(max_addresses=100, now=Clock())

    for number in range(1_000):
        limit.is_within(f"10.0.{number // 256}.{number % 256}")

    assert len(limit) == 100
