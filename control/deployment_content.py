"""The content of a deployment, compared with the content that it is to have."""

from __future__ import annotations

import msgspec

from kubefox.deployment import Deployment
from kubefox.errors import Immutable
from kubefox.rollout import RolloutState


def check_replaceable(current: Deployment, wanted: Deployment) -> None:
    """Check that a deployment may get other content.

    Raises:
        Immutable: It belongs to another app, or it has a version and other content.
    """
    if current.app != wanted.app:
        raise Immutable(
            f"deployment {current.name} belongs to app {current.app}, not to {wanted.app}: "
            "deploy under another name"
        )
    if current.is_immutable and _content(current) != _content(wanted):
        raise Immutable(
            f"deployment {current.name} has version {current.version} and cannot change: "
            "deploy under another name"
        )


def is_unchanged(current: Deployment, wanted: Deployment) -> bool:
    """Return whether nothing must be written. An immutable deployment keeps its source."""
    if current.is_immutable:
        return _content(current) == _content(wanted)
    return current == as_current(wanted, current)


def is_requested(rollouts: RolloutState, wanted: Deployment, deadline_s: float | None) -> bool:
    """Return whether a rollout to the same content, with the given deadline, is rolling."""
    rolling = rollouts.rolling
    return (
        rolling is not None
        and is_unchanged(rolling.target, wanted)
        and deadline_s in {None, rolling.deadline_s}
    )


def as_current(wanted: Deployment, current: Deployment) -> Deployment:
    """Return a deployment with the generation and the times of the current one."""
    return msgspec.structs.replace(
        wanted,
        generation=current.generation,
        created_at_s=current.created_at_s,
        activated_at_s=current.activated_at_s,
    )


def _content(deployment: Deployment) -> tuple[object, ...]:
    return deployment.app, deployment.components, deployment.version
