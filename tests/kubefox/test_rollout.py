"""Rollouts: begun, completed, failed, aborted and undone."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kubefox.deployment import Deployment
from kubefox.errors import GenerationNotFound, InvalidRequest, Problem
from kubefox.rollout import (
    HISTORY_LIMIT,
    RolloutPhase,
    RolloutState,
    abort,
    begin,
    complete,
    deployments_of,
    expire,
    fail,
    forget_failure,
    is_switched,
    record_problems,
    undo_target,
)

EMPTY = RolloutState(deployment="main")
PROBLEM = Problem(type="PodNotReady", message="not yet", path="components.api-server")


def content(text: str) -> Deployment:
    return Deployment(name="main", app="order-app", components={"api-server": text})


def rolling(text: str = "v2") -> RolloutState:
    return begin(EMPTY, content("v1"), content(text), now_s=10, deadline_s=300)


def switched(state: RolloutState) -> Deployment:
    assert state.rolling is not None
    return state.rolling.target


def test_a_rollout_has_the_next_generation_and_the_content_that_it_replaces() -> None:
    rollout = rolling().rolling

    assert rollout is not None
    assert rollout.target == msgspec.structs.replace(content("v2"), generation=2)
    assert rollout.replaces == content("v1")
    assert rollout.ends_by_s == 310


def test_a_completed_rollout_moves_the_replaced_content_to_the_history() -> None:
    state = complete(rolling())

    assert state.rollout is None
    assert state.history == (content("v1"),)
    assert state.last_generation == 2
    assert complete(state) is state


def test_a_rollout_is_switched_when_the_deployment_has_its_generation() -> None:
    state = rolling()

    assert not is_switched(state, content("v1"))
    assert is_switched(state, switched(state))
    assert not is_switched(abort(state, now_s=11), switched(state))


@pytest.mark.parametrize(("now_s", "is_expired"), [(10, False), (309.9, False), (310, True)])
def test_a_rollout_fails_at_its_deadline_with_its_last_problems(
    now_s: float, *, is_expired: bool
) -> None:
    waiting = record_problems(rolling(), (PROBLEM,))

    state = expire(waiting, now_s=now_s)

    assert state.rollout is not None
    assert (state.rollout.phase is RolloutPhase.FAILED) == is_expired
    assert state.rollout.problems == (PROBLEM,)
    assert state.rollout.ended_at_s == (now_s if is_expired else None)


def test_a_rollout_that_has_ended_does_not_change_any_more() -> None:
    failed = fail(rolling(), (PROBLEM,), now_s=20)

    assert failed.rollout is not None
    assert failed.rollout.phase is RolloutPhase.FAILED
    assert failed.history == ()
    for state in (
        abort(failed, now_s=30),
        expire(failed, now_s=1_000),
        complete(failed),
        record_problems(failed, ()),
    ):
        assert state is failed


def test_the_number_of_a_failed_rollout_is_not_used_again() -> None:
    failed = fail(rolling(), (PROBLEM,), now_s=20)

    state = begin(failed, content("v1"), content("v3"), now_s=30, deadline_s=300)

    assert switched(state).generation == 3


def test_a_rollout_to_the_same_content_keeps_its_number_and_gets_the_new_deadline() -> None:
    repeated = begin(rolling(), content("v1"), content("v2"), now_s=20, deadline_s=300)
    other = begin(rolling(), content("v1"), content("v3"), now_s=20, deadline_s=300)

    assert switched(repeated) == switched(rolling())
    assert repeated.rolling is not None
    assert repeated.rolling.ends_by_s == 320
    assert switched(other).generation == 3


def test_a_failure_is_forgotten_but_not_a_rollout_that_is_rolling() -> None:
    assert forget_failure(fail(rolling(), (), now_s=20)).rollout is None
    assert forget_failure(rolling()) == rolling()


def test_undo_restores_the_last_generation_or_the_named_one() -> None:
    first = complete(rolling())
    second = switched(rolling())
    third = begin(first, second, content("v3"), now_s=20, deadline_s=300)
    current = switched(third)
    state = complete(third)

    assert undo_target(state, current, None) == second
    assert undo_target(state, current, 1) == content("v1")
    with pytest.raises(InvalidRequest, match="generation 3 of main is the current one"):
        undo_target(state, current, 3)
    with pytest.raises(
        GenerationNotFound, match="no generation 7 to restore: expected one of 2, 1"
    ):
        undo_target(state, current, 7)


@pytest.mark.parametrize("generation", [None, 2])
def test_a_deployment_that_never_changed_cannot_be_undone(generation: int | None) -> None:
    with pytest.raises(GenerationNotFound, match="no earlier"):
        undo_target(EMPTY, content("v1"), generation)


class Rollouts(RuleBasedStateMachine):
    """Any order of changes, with a crash between the switch and its completion."""

    def __init__(self) -> None:
        super().__init__()
        self.current = content("v0")
        self.state = EMPTY
        self.now_s = 0.0
        self.given = [1]
        self.served = [self.current]

    @precondition(lambda self: not is_switched(self.state, self.current))
    @rule(text=st.sampled_from(["v1", "v2", "v3"]))
    def begin(self, text: str) -> None:
        before = self.state.rolling
        self.state = begin(
            self.state, self.current, content(text), now_s=self.now_s, deadline_s=100
        )
        if before is None or before.target.components != content(text).components:
            self.given.append(switched(self.state).generation)

    @precondition(lambda self: self.state.rolling is not None)
    @rule()
    def switch(self) -> None:
        self.current = switched(self.state)
        if self.served[-1] != self.current:
            self.served.append(self.current)

    @precondition(lambda self: is_switched(self.state, self.current))
    @rule()
    def complete(self) -> None:
        self.state = complete(self.state)

    @precondition(lambda self: not is_switched(self.state, self.current))
    @rule(is_abort=st.booleans(), after_s=st.floats(0, 200))
    def end(self, *, is_abort: bool, after_s: float) -> None:
        self.now_s += after_s
        self.state = (abort if is_abort else expire)(self.state, now_s=self.now_s)

    @invariant()
    def numbers_only_grow(self) -> None:
        assert self.given == sorted(set(self.given))

    @invariant()
    def the_history_is_what_was_served_before(self) -> None:
        if not is_switched(self.state, self.current):
            earlier = tuple(reversed(self.served[:-1]))[:HISTORY_LIMIT]
            assert self.state.history == earlier

    @invariant()
    def every_content_is_named(self) -> None:
        named = (*deployments_of(self.state), self.current)
        assert all(earlier in named for earlier in self.state.history)


TestRollouts = Rollouts.TestCase
