"""Limits of replicas in layers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox.scaling import (
    MAX_REPLICAS,
    Replicas,
    Scale,
    enough_for_all,
    fault_of,
    merged,
    replicas_of,
)

limits = st.none() | st.integers(-2, 8)
targets = st.none() | st.floats(-1, 50)
scales = st.builds(Scale, min=limits, max=limits, target_in_flight=targets)
valid = scales.filter(lambda scale: not fault_of(scale))
DEFAULT = Replicas()


def test_without_layers_the_default_applies() -> None:
    assert replicas_of([None, None], DEFAULT) == DEFAULT


def test_a_higher_layer_wins() -> None:
    declared = Scale(min=1, max=3, target_in_flight=10)

    assert replicas_of([declared, Scale(max=5)], DEFAULT) == Replicas(
        min=1, max=5, target_in_flight=10
    )


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([Scale(min=2)], (2, 2)),
        ([Scale(min=2, max=4), Scale(min=6)], (6, 6)),
        ([Scale(min=2, max=4), Scale(max=1)], (1, 1)),
    ],
)
def test_a_limit_moves_the_other_limit_of_a_lower_layer(
    layers: list[Scale], expected: tuple[int, int]
) -> None:
    replicas = replicas_of(layers, DEFAULT)

    assert (replicas.min, replicas.max) == expected


@given(st.lists(valid, max_size=4))
def test_any_layers_give_possible_limits(layers: list[Scale]) -> None:
    replicas = replicas_of(layers, DEFAULT)

    assert 0 <= replicas.min <= replicas.max
    assert replicas.max >= 1
    assert replicas.target_in_flight > 0


@given(st.lists(valid, max_size=3), valid)
def test_every_limit_of_the_highest_layer_applies(layers: list[Scale], top: Scale) -> None:
    replicas = replicas_of([*layers, top], DEFAULT)

    assert top.min in {None, replicas.min}
    assert top.max in {None, replicas.max}
    assert top.target_in_flight in {None, replicas.target_in_flight}


@given(st.lists(st.lists(valid, max_size=2), min_size=1, max_size=4))
def test_shared_pods_are_enough_for_each_deployment(deployments: list[list[Scale]]) -> None:
    needs = [replicas_of(layers, DEFAULT) for layers in deployments]

    shared = enough_for_all(needs)

    assert all(shared.min >= need.min and shared.max >= need.max for need in needs)
    assert all(shared.target_in_flight <= need.target_in_flight for need in needs)


@given(st.builds(Replicas, min=st.just(0), max=st.integers(1, 5)), st.integers(-3, 9))
def test_an_idle_version_may_have_one_pod(replicas: Replicas, count: int) -> None:
    assert 1 <= replicas.clamp(count) <= replicas.max


def test_a_change_keeps_the_limits_that_it_does_not_name() -> None:
    assert merged(Scale(min=2, max=4), Scale(max=8)) == Scale(min=2, max=8)


@pytest.mark.parametrize(
    ("scale", "fault"),
    [
        (Scale(), ""),
        (Scale(min=0, max=1), ""),
        (Scale(min=-1), "min is -1: expected a number from 0 to 1000"),
        (Scale(max=0), "max is 0: expected a number from 1 to 1000"),
        (Scale(max=MAX_REPLICAS + 1), "max is 1001: expected a number from 1 to 1000"),
        (Scale(min=3, max=2), "min is 3: expected at most max, which is 2"),
        (Scale(target_in_flight=0), "target_in_flight is 0: expected a number above 0"),
    ],
)
def test_the_fault_of_a_scale_names_the_limit(scale: Scale, fault: str) -> None:
    assert fault_of(scale) == fault
