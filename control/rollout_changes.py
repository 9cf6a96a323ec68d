"""Decisions about the next state of a deployment's rollout.

Pure: every function decides from a ``RolloutInput``. ``control.rollouts`` writes the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

import msgspec

from kubefox.component import short
from kubefox.deployment import Deployment
from kubefox.distill import Version, versions_in_use
from kubefox.errors import Problem
from kubefox.pod import PodPhase, PodStatus
from kubefox.rollout import (
    DeploymentState,
    RolloutPhase,
    RolloutState,
    complete,
    expire,
    fail,
    is_switched,
    record_problems,
)

MAX_FAILED_STARTS = 3
"""A pod that died so often without having become ready ends its rollout before the deadline."""


class RolloutInput(msgspec.Struct, frozen=True, kw_only=True):
    """The data that a decision is based on.

    Attributes:
        ready: Component versions that accept events.
        statuses: Statuses of the pods of the rollout's versions, perhaps of others too.
        now_s: Unix time.
    """

    ready: AbstractSet[Version]
    statuses: tuple[PodStatus, ...]
    now_s: float


class RolloutChange(msgspec.Struct, frozen=True, kw_only=True):
    """A new state of a rollout, to be written.

    Attributes:
        state: The new state.
        deployment: The new content of the deployment, to be written first; None to keep it.
    """

    state: RolloutState
    deployment: Deployment | None = None


def decide_rollout(inputs: RolloutInput, state: RolloutState, current: Deployment) -> RolloutChange:
    """Return the change that switches, completes or fails the rollout, or notes its problems.

    Args:
        inputs: The pods, and the time.
        state: The rollouts of the deployment.
        current: The deployment.
    """
    rolling = state.rolling
    if rolling is None:
        return RolloutChange(state=state)
    if is_switched(state, current):
        return RolloutChange(state=complete(state))
    wanted = versions_in_use((rolling.target,))
    # A difference of sets would walk over all ready versions.
    missing = frozenset(version for version in wanted if version not in inputs.ready)
    added = wanted - versions_in_use((current,))
    starting = tuple(_starting(added, inputs.statuses))
    if not missing and not starting:
        target = msgspec.structs.replace(rolling.target, activated_at_s=inputs.now_s)
        return RolloutChange(state=complete(state), deployment=target)
    if failures := tuple(_failed_pods(missing, inputs.statuses)):
        return RolloutChange(state=fail(state, failures, now_s=inputs.now_s))
    problems = (*_not_ready(missing, inputs.statuses), *(starting if not missing else ()))
    return hold(state, problems, now_s=inputs.now_s)


def hold(state: RolloutState, problems: tuple[Problem, ...], *, now_s: float) -> RolloutChange:
    """Return the change that notes the problems, and fails the rollout if its time is over."""
    return RolloutChange(state=expire(record_problems(state, problems), now_s=now_s))


def state_of(
    deployment: Deployment, rollouts: RolloutState, ready: AbstractSet[Version]
) -> DeploymentState:
    """Return the state of a deployment.

    Args:
        deployment: The deployment.
        rollouts: Its rollouts.
        ready: The component versions that accept events.
    """
    rollout = rollouts.rollout
    if rollout is not None and rollout.phase is RolloutPhase.ROLLING:
        return DeploymentState.ROLLING
    if rollout is not None and rollout.phase is RolloutPhase.FAILED:
        return DeploymentState.FAILED
    is_ready = all(version in ready for version in versions_in_use((deployment,)))
    return DeploymentState.READY if is_ready else DeploymentState.STARTING


def _failed_pods(missing: frozenset[Version], statuses: Iterable[PodStatus]) -> Iterator[Problem]:
    for status in statuses:
        if status.version in missing and status.failed_starts >= MAX_FAILED_STARTS:
            yield Problem(
                type="PodFailed",
                message=f"pod {status.id} died {status.failed_starts} times before it was ready: "
                f"{status.message or 'no reason was reported'}",
                path=f"components.{status.component}",
            )


def _starting(added: frozenset[Version], statuses: Iterable[PodStatus]) -> Iterator[Problem]:
    """Yield the replicas of new versions that are not ready yet.

    The load needs all of them. A replica that dies does not hold the switch up.
    """
    for status in statuses:
        if status.version in added and status.phase is PodPhase.STARTING:
            yield Problem(
                type="PodNotReady",
                message=f"pod {status.id} {status.message or 'is starting'}",
                path=f"components.{status.component}",
            )


def _not_ready(missing: frozenset[Version], statuses: Iterable[PodStatus]) -> Iterator[Problem]:
    reasons = {status.version: status.message for status in statuses if status.message}
    for version in sorted(missing):
        reason = f": it {reasons[version]}" if version in reasons else ""
        yield Problem(
            type="PodNotReady",
            message=f"no pod of {version.component}@{short(version.hash)} is ready{reason}",
            path=f"components.{version.component}",
        )
