from hypothesis import given
from hypothesis import strategies as st

from pods.backoff import LIMIT_S, STABLE_S, BackOff


def test_the_first_restart_waits_100_ms() -> None:
    assert BackOff().after_death(ready_for_s=0).delay_s == 0.1


def test_the_delay_doubles_up_to_the_limit() -> None:
    back_off = BackOff()
    delays = []

    for _ in range(11):
        back_off = back_off.after_death(ready_for_s=0)
        delays.append(back_off.delay_s)

    assert delays[:9] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6]
    assert delays[9:] == [30, 30]


def test_a_stable_pod_resets_the_back_off() -> None:
    back_off = BackOff(deaths=7)

    assert back_off.after_death(ready_for_s=STABLE_S).delay_s == 0.1


def test_a_pod_that_was_ready_only_briefly_does_not_reset_the_back_off() -> None:
    back_off = BackOff(deaths=3)

    assert back_off.after_death(ready_for_s=STABLE_S / 2).delay_s == 0.8


def test_the_first_start_has_no_delay() -> None:
    assert BackOff().delay_s == 0


@given(st.integers(min_value=0, max_value=10**9))
def test_the_delay_never_exceeds_the_limit(deaths: int) -> None:
    assert 0 <= BackOff(deaths=deaths).delay_s <= LIMIT_S
