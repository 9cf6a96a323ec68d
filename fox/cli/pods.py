"""Waits for the pods of a deployment."""

from __future__ import annotations

import msgspec

from fox.cli.client import Control
from fox.cli.kinds import DEPLOYMENTS, PODS, SLEEPERS
from fox.cli.waiting import wait_for
from fox.cli.words import count, listed
from model.deployment import Deployment
from model.distill import versions_in_use
from model.errors import ComponentFailed, Conflict, DeadlineExceeded, NotFound
from model.pod import PodPhase, PodStatus, Sleeper

# The first restart may be an accident; who dies three times will not become ready by waiting.
HOPELESS_RESTARTS = 2


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes a deployment's events.

    Attributes:
        pods: That are there.
        sleepers: Versions that have none until their next event.
    """

    pods: tuple[PodStatus, ...] = ()
    sleepers: tuple[Sleeper, ...] = ()


def wait_ready(control: Control, deployment: Deployment, timeout_s: float) -> Serving:
    """Return who serves a deployment when each component has a pod that is ready, or sleeps.

    One that sleeps is not woken: it has been ready with the same content before.

    Raises:
        ComponentFailed: A pod dies again and again.
        Conflict: Somebody else deployed under its name, or undeployed it: its pods need not come.
        DeadlineExceeded: It took too long.
    """
    try:
        return _wait_ready(control, deployment, timeout_s)
    except (ComponentFailed, DeadlineExceeded) as error:
        # Whoever only sees the exit code might think that nothing was stored.
        error.detail = f"{deployment.name} is deployed, but not ready: {error.detail}"
        raise


def _wait_ready(control: Control, deployment: Deployment, timeout_s: float) -> Serving:
    def look() -> tuple[str, Serving | None]:
        _check_there(control, deployment)
        pods = pods_of(control, deployment)
        _check_hope(pods)
        sleepers = sleepers_of(control, deployment)
        ready = {each.component for each in pods if each.phase is PodPhase.READY}
        waiting = deployment.components.keys() - ready - {each.component for each in sleepers}
        if waiting:
            return f"{count(len(ready), 'pod')} ready, waiting for {listed(waiting)}", None
        return "", Serving(pods=pods, sleepers=sleepers)

    return wait_for(look, f"starting the pods of {deployment.name}", timeout_s)


def pods_of(control: Control, deployment: Deployment) -> tuple[PodStatus, ...]:
    """Return the pods that serve a deployment, with others or alone."""
    wanted = versions_in_use((deployment,))
    pods: list[PodStatus] = PODS.records(control.get("v1", PODS.path))
    return tuple(each for each in pods if each.version in wanted)


def sleepers_of(control: Control, deployment: Deployment) -> tuple[Sleeper, ...]:
    """Return the component versions of a deployment that sleep."""
    wanted = versions_in_use((deployment,))
    sleepers: list[Sleeper] = SLEEPERS.records(control.get("v1", SLEEPERS.path))
    return tuple(each for each in sleepers if each.version in wanted)


def _check_there(control: Control, deployment: Deployment) -> None:
    name = deployment.name
    try:
        there: Deployment = DEPLOYMENTS.record_of(control.get("v1", DEPLOYMENTS.path, name))
    except NotFound as error:
        raise Conflict(f"deployment {name} was removed by somebody else meanwhile") from error
    if versions_in_use((there,)) != versions_in_use((deployment,)):
        raise Conflict(f"deployment {name} was replaced by another deploy meanwhile")


def _check_hope(pods: tuple[PodStatus, ...]) -> None:
    for pod in pods:
        if pod.phase is PodPhase.BACK_OFF and pod.restarts >= HOPELESS_RESTARTS:
            reason = pod.message or "it ended"
            raise ComponentFailed(
                f"pod {pod.id} dies again and again: {reason}; see `fox logs {pod.component}`",
                hop=pod.component,
            )
