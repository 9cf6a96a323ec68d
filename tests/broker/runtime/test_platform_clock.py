from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.runtime.platform_clock import LEAST_CHANGE_S, PlatformClock

TRUE_S = 1_800_000_000.0


class Host:
    """The clocks of a host that tests move."""

    def __init__(self, ahead_s: float = 0) -> None:
        self.ahead_s = ahead_s
        self.passed_s = 100.0

    def clock(self) -> PlatformClock:
        return PlatformClock(lambda: TRUE_S + self.passed_s + self.ahead_s, lambda: self.passed_s)


def test_until_it_is_compared_it_is_the_clock_of_the_host() -> None:
    assert Host(ahead_s=8).clock().now_s() == TRUE_S + 108


@given(
    ahead_s=st.floats(-1e6, 1e6),
    to_s=st.floats(0, 1),
    back_s=st.floats(0, 1),
    pass_s=st.floats(0, 1e5),
)
def test_after_a_comparison_it_is_right_within_half_the_time_of_the_answer(
    ahead_s: float, to_s: float, back_s: float, pass_s: float
) -> None:
    host = Host(ahead_s)
    clock = host.clock()
    asked_s = host.passed_s
    true_s = TRUE_S + host.passed_s + to_s
    host.passed_s += to_s + back_s

    clock.correct(true_s, asked_s, host.passed_s)
    host.passed_s += pass_s

    open_s = (to_s + back_s) / 2 + LEAST_CHANGE_S
    # Unix times of this size have steps of 0.24 µs.
    assert abs(clock.now_s() - (TRUE_S + host.passed_s)) <= 2 * open_s + 1e-5


def test_setting_the_clock_of_the_host_changes_nothing() -> None:
    host = Host()
    clock = host.clock()
    clock.correct(TRUE_S + 100, 100, 100)

    host.ahead_s = -3600
    host.passed_s += 1

    assert clock.now_s() == TRUE_S + 101


def test_it_tells_how_far_the_host_is_ahead() -> None:
    clock = Host(ahead_s=8).clock()

    change_s = clock.correct(TRUE_S + 100, 100, 100)

    assert change_s == -8
    assert clock.host_ahead_ns == 8_000_000_000


def test_a_difference_within_the_time_of_the_answer_changes_nothing() -> None:
    clock = Host().clock()

    assert clock.correct(TRUE_S + 100.4, 99.5, 100.5) == 0
    assert clock.now_s() == TRUE_S + 100
