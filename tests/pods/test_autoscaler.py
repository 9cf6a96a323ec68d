"""The autoscaler's decisions, without any pod."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox.scaling import Replicas
from pods.autoscaler import Autoscaling, Sample, Windows, decide

WINDOWS = Windows()
LIMITS = Replicas(min=1, max=10, target_in_flight=10)

loads = st.floats(0, 300)
limits = st.builds(
    lambda low, more, target: Replicas(min=low, max=max(1, low + more), target_in_flight=target),
    st.integers(0, 5),
    st.integers(0, 10),
    st.floats(0.5, 50),
)
samples_in_turn = st.lists(
    st.tuples(st.floats(0.1, 20), loads, st.floats(0, 2), st.integers(1, 10)), max_size=40
)


def in_turn(steps: Iterable[tuple[float, float, float, int]]) -> Iterator[Sample]:
    at_s = 0.0
    for passed_s, in_flight, waited_s, ready in steps:
        at_s += passed_s
        yield Sample(at_s=at_s, in_flight=in_flight, waited_s=waited_s, ready=ready)


def counts_of(samples: Iterable[Sample], limits: Replicas = LIMITS) -> list[int]:
    state, counts = Autoscaling(), []
    for sample in samples:
        state, count = decide(state, sample, limits, WINDOWS)
        counts.append(count)
    return counts


class Simulation:
    """A version whose pods are ready one second after the decision."""

    def __init__(self, limits: Replicas = LIMITS) -> None:
        self.limits = limits
        self.ready = limits.clamp(0)
        self.now_s = 0.0
        self._state = Autoscaling()

    def run(self, duration_s: int, in_flight: float, *, waited_s: float = 0) -> list[int]:
        """Return the counts of a constant load, one a second."""
        counts = []
        for _ in range(duration_s):
            self.now_s += 1
            sample = Sample(
                at_s=self.now_s, in_flight=in_flight, waited_s=waited_s, ready=self.ready
            )
            self._state, self.ready = decide(self._state, sample, self.limits, WINDOWS)
            counts.append(self.ready)
        return counts


@given(samples_in_turn, limits)
def test_the_number_stays_within_the_limits(
    steps: list[tuple[float, float, float, int]], limits: Replicas
) -> None:
    counts = counts_of(in_turn(steps), limits)

    assert all(max(1, limits.min) <= count <= limits.max for count in counts)


@given(loads, limits, st.lists(loads, max_size=20))
def test_a_constant_load_gets_the_pods_that_it_needs(
    load: float, limits: Replicas, before: list[float]
) -> None:
    version = Simulation(limits)
    for earlier in before:
        version.run(3, earlier)

    counts = version.run(200, load)

    assert counts[-1] == limits.clamp(ceil(load / limits.target_in_flight - 1e-9))


@given(samples_in_turn, st.lists(st.floats(0, 100), min_size=40, max_size=40))
def test_more_load_never_gets_fewer_pods(
    steps: list[tuple[float, float, float, int]], more: list[float]
) -> None:
    heavier = [
        (passed_s, load + extra, waited_s, ready)
        for (passed_s, load, waited_s, ready), extra in zip(steps, more, strict=False)
    ]

    light, heavy = counts_of(in_turn(steps)), counts_of(in_turn(heavier))

    assert all(few <= many for few, many in zip(light, heavy, strict=True))


@given(samples_in_turn)
def test_the_number_falls_only_after_the_delay(
    steps: list[tuple[float, float, float, int]],
) -> None:
    state = Autoscaling()
    wanted: list[tuple[float, int]] = []

    for sample in in_turn(steps):
        state, count = decide(state, sample, LIMITS, WINDOWS)
        wanted.append(state.wanted[-1])
        delayed_from_s = sample.at_s - WINDOWS.scale_down_delay_s
        assert count == max(number for at_s, number in wanted if at_s > delayed_from_s)


@given(st.floats(20, 1000))
def test_a_burst_gets_its_pods_within_the_panic_window(load: float) -> None:
    version = Simulation()
    version.run(120, 1)

    counts = version.run(6, load)

    assert counts[-1] == LIMITS.clamp(ceil(load / LIMITS.target_in_flight))


def test_a_slow_rise_follows_the_stable_window() -> None:
    version = Simulation()
    version.run(120, 39)

    counts = version.run(20, 45)

    assert counts[0] == 4
    assert counts[-1] == 5


def test_in_a_panic_the_number_does_not_fall() -> None:
    version = Simulation()
    version.run(60, 1)
    version.run(6, 90)

    counts = version.run(50, 1)

    assert set(counts) == {9}


def test_after_a_burst_the_number_falls_again() -> None:
    version = Simulation()
    version.run(60, 1)
    version.run(6, 90)

    counts = version.run(200, 1)

    assert counts[-1] == 1


def test_a_short_pause_stops_no_pod() -> None:
    version = Simulation()
    version.run(200, 45)

    assert set(version.run(5, 0)) == {5}


def test_events_that_wait_get_one_pod_more_at_a_time() -> None:
    version = Simulation()
    version.run(60, 25)

    counts = version.run(3, 25, waited_s=5)

    assert counts == [4, 5, 6]


def test_no_more_samples_are_kept_than_the_stable_window_holds() -> None:
    state = Autoscaling()
    for second in range(500):
        sample = Sample(at_s=second, in_flight=5)
        state, _ = decide(state, sample, LIMITS, WINDOWS)

    assert len(state.samples) == WINDOWS.stable_s
    assert len(state.wanted) == WINDOWS.scale_down_delay_s


@pytest.mark.parametrize(("load", "count"), [(0, 1), (10, 1), (10.1, 2), (20, 2), (1e9, 10)])
def test_the_first_sample_decides_at_once(load: float, count: int) -> None:
    assert counts_of([Sample(at_s=0, in_flight=load)]) == [count]
