from hypothesis import given
from hypothesis import strategies as st

from pods.backoff import LIMIT_S, STABLE_S, BackOff


def test_the_first_restart_comes_almost_at_once() -> None:
    assert BackOff().after_death(ready_for_s=0).delay_s == 0.1


def test_a_pod_that_keeps_dying_waits_twice_as_long_each_time() -> None:
    back_off = BackOff()
    delays = []

    for _ in range(11):
        back_off = back_off.after_death(ready_for_s=0)
        delays.append(back_off.delay_s)

    assert delays[:9] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6]
    assert delays[9:] == [30, 30]


def test_a_pod_that_was_ready_for_a_while_begins_again_with_the_first_delay() -> None:
    back_off = BackOff(deaths=7)

    assert back_off.after_death(ready_for_s=STABLE_S).delay_s == 0.1


def test_a_pod_that_was_ready_only_briefly_waits_longer() -> None:
    back_off = BackOff(deaths=3)

    assert back_off.after_death(ready_for_s=STABLE_S / 2).delay_s == 0.8


def test_nothing_waits_before_the_first_start() -> None:
    assert BackOff().delay_s == 0


@given(st.integers(min_value=0, max_value=10**9))
def test_no_pod_waits_longer_than_the_limit_however_often_it_died(deaths: int) -> None:
    assert 0 <= BackOff(deaths=deaths).delay_s <= LIMIT_S
