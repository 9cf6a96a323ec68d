"""Rollouts of a mutable deployment: a state machine.

A change of a deployment's components is a *rollout*. Its new component versions start beside the
old ones, and the deployment gets the new content when all of them are ready. A rollout that is not
ready by its deadline has failed, and the deployment keeps its content. Each content has a number,
its *generation*; earlier generations are kept, so that a rollout can be undone.

The switch is one write of the ``Deployment``; ``complete`` follows in a second write. Between the
two the deployment has the generation of the rollout already: see ``is_switched``.
Every function below takes a state and returns the next one.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from kubefox.bounded_history import bounded_history
from kubefox.deployment import Deployment
from kubefox.errors import GenerationNotFound, InvalidRequest, Problem

HISTORY_LIMIT = 10
"""How many earlier generations of a deployment are kept; see ``kubefox.bounded_history`` too."""


class RolloutPhase(Enum):
    """The phase of a rollout; a completed rollout is removed."""

    ROLLING = "rolling"
    FAILED = "failed"
    ABORTED = "aborted"


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a deployment.

    Attributes:
        target: The new content, with its generation.
        replaces: The content at the time of the request.
        requested_at_s: Unix time.
        deadline_s: How long it may be rolling.
        phase: Its phase.
        problems: Why it was rolling at the last check, or why it failed.
        ended_at_s: Unix time at which it failed or was aborted, None while it is rolling.
    """

    target: Deployment
    replaces: Deployment
    requested_at_s: float
    deadline_s: float
    phase: RolloutPhase = RolloutPhase.ROLLING
    problems: tuple[Problem, ...] = ()
    ended_at_s: float | None = None

    @property
    def ends_by_s(self) -> float:
        """Unix time at which it fails."""
        return self.requested_at_s + self.deadline_s


class RolloutState(msgspec.Struct, frozen=True, kw_only=True):
    """The rollouts of one deployment.

    Attributes:
        deployment: Name of the deployment.
        last_generation: The highest generation that was given to a rollout.
        rollout: The latest rollout, None if it is complete.
        history: Earlier generations, newest first.
    """

    deployment: str
    last_generation: int = 1
    rollout: Rollout | None = None
    history: tuple[Deployment, ...] = ()

    @property
    def rolling(self) -> Rollout | None:
        """The latest rollout if it is rolling."""
        rollout = self.rollout
        return rollout if rollout is not None and rollout.phase is RolloutPhase.ROLLING else None


class DeploymentState(Enum):
    """The state of a deployment.

    While its latest change is rolling out or has failed, the deployment serves its earlier content.
    """

    READY = "ready"
    STARTING = "starting"
    ROLLING = "rolling"
    FAILED = "failed"


class Generations(msgspec.Struct, frozen=True, kw_only=True):
    """The contents that a deployment has had.

    Attributes:
        current: The content that requests meet.
        rollout: The latest change, if it is not complete.
        earlier: Earlier contents, newest first.
    """

    current: Deployment
    rollout: Rollout | None = None
    earlier: tuple[Deployment, ...] = ()


def begin(
    state: RolloutState,
    current: Deployment,
    content: Deployment,
    *,
    now_s: float,
    deadline_s: float,
) -> RolloutState:
    """Begin a rollout; it replaces the rollout before it, which may be rolling.

    If that is rolling to the same content, it keeps its generation and gets the new deadline: a
    deploy that is repeated does not fail the one that waits.

    Args:
        state: The rollouts so far, none of which ``is_switched``.
        current: The deployment as it is.
        content: Its new content; generation and times are set here.
        now_s: Unix time.
        deadline_s: How long the rollout may be rolling.
    """
    latest = max(state.last_generation, current.generation)
    target = msgspec.structs.replace(
        content, generation=latest, created_at_s=current.created_at_s, activated_at_s=0
    )
    is_repeated = state.rolling is not None and state.rolling.target == target
    if not is_repeated:
        target = msgspec.structs.replace(target, generation=latest + 1)
    rollout = Rollout(target=target, replaces=current, requested_at_s=now_s, deadline_s=deadline_s)
    return msgspec.structs.replace(state, last_generation=target.generation, rollout=rollout)


def is_switched(state: RolloutState, current: Deployment) -> bool:
    """Return whether the deployment has the content of the rollout, which is not completed yet."""
    rolling = state.rolling
    return rolling is not None and rolling.target.generation == current.generation


def complete(state: RolloutState) -> RolloutState:
    """Remove the rollout, and add the content that it replaced to the history."""
    if state.rolling is None:
        return state
    history = bounded_history((state.rolling.replaces, *state.history), HISTORY_LIMIT)
    return msgspec.structs.replace(state, rollout=None, history=history)


def record_problems(state: RolloutState, problems: tuple[Problem, ...]) -> RolloutState:
    """Record why the rollout is still rolling."""
    if state.rolling is None:
        return state
    rollout = msgspec.structs.replace(state.rolling, problems=problems)
    return msgspec.structs.replace(state, rollout=rollout)


def fail(state: RolloutState, problems: tuple[Problem, ...], *, now_s: float) -> RolloutState:
    """End the rollout because of ``problems``; the deployment keeps its content."""
    return _ended(record_problems(state, problems), RolloutPhase.FAILED, now_s)


def expire(state: RolloutState, *, now_s: float) -> RolloutState:
    """Fail the rollout if its deadline has passed; else return ``state``."""
    if state.rolling is None or now_s < state.rolling.ends_by_s:
        return state
    return _ended(state, RolloutPhase.FAILED, now_s)


def abort(state: RolloutState, *, now_s: float) -> RolloutState:
    """End the rollout if it is rolling; the deployment keeps its content."""
    return _ended(state, RolloutPhase.ABORTED, now_s)


def forget_failure(state: RolloutState) -> RolloutState:
    """Remove a rollout that failed or was aborted: its deployment was deployed again."""
    if state.rolling is not None:
        return state
    return msgspec.structs.replace(state, rollout=None)


def undo_target(state: RolloutState, current: Deployment, generation: int | None) -> Deployment:
    """Return the earlier content to restore: of the given generation, or of the last one.

    Raises:
        GenerationNotFound: There is no such generation.
        InvalidRequest: The generation is the current one.
    """
    if generation == current.generation:
        raise InvalidRequest(f"generation {generation} of {current.name} is the current one")
    for earlier in state.history:
        if generation in {None, earlier.generation}:
            return earlier
    numbers = ", ".join(str(earlier.generation) for earlier in state.history)
    if generation is None:
        raise GenerationNotFound(f"deployment {current.name} has no earlier generation")
    raise GenerationNotFound(
        f"deployment {current.name} has no generation {generation} to restore: "
        f"expected one of {numbers}"
        if numbers
        else f"deployment {current.name} has no generation {generation}, and no earlier one"
    )


def deployments_of(state: RolloutState) -> tuple[Deployment, ...]:
    """Return all contents that the rollout and the history name."""
    rollout = state.rollout
    latest = () if rollout is None else (rollout.target, rollout.replaces)
    return (*latest, *state.history)


def _ended(state: RolloutState, phase: RolloutPhase, now_s: float) -> RolloutState:
    if state.rolling is None:
        return state
    rollout = msgspec.structs.replace(state.rolling, phase=phase, ended_at_s=now_s)
    return msgspec.structs.replace(state, rollout=rollout)
