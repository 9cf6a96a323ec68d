"""Waits for the pods of a deployment."""

from __future__ import annotations

from fox.cli.client import Control
from fox.cli.kinds import PODS
from fox.cli.waiting import wait_for
from fox.cli.words import count, listed
from model.deployment import Deployment
from model.errors import ComponentFailed
from model.pod import PodPhase, PodStatus

# The first restart may be an accident; who dies three times will not become ready by waiting.
HOPELESS_RESTARTS = 2


def wait_ready(control: Control, deployment: Deployment, timeout_s: float) -> tuple[PodStatus, ...]:
    """Return the deployment's pods when each of its components has one that is ready.

    Raises:
        ComponentFailed: A pod dies again and again.
        DeadlineExceeded: It took too long.
    """

    def look() -> tuple[str, tuple[PodStatus, ...] | None]:
        pods = pods_of(control, deployment)
        _check_hope(pods)
        ready = {each.component for each in pods if each.phase is PodPhase.READY}
        waiting = deployment.components.keys() - ready
        if waiting:
            return f"{count(len(ready), 'pod')} ready, waiting for {listed(waiting)}", None
        return "", pods

    return wait_for(look, f"starting the pods of {deployment.name}", timeout_s)


def pods_of(control: Control, deployment: Deployment) -> tuple[PodStatus, ...]:
    """Return the pods that serve a deployment, with others or alone."""
    wanted = {(deployment.app, *each) for each in deployment.components.items()}
    pods: list[PodStatus] = PODS.records(control.get("v1", PODS.path))
    return tuple(each for each in pods if (each.app, each.component, each.hash) in wanted)


def _check_hope(pods: tuple[PodStatus, ...]) -> None:
    for pod in pods:
        if pod.phase is PodPhase.BACK_OFF and pod.restarts >= HOPELESS_RESTARTS:
            reason = pod.message or "it ended"
            raise ComponentFailed(
                f"pod {pod.id} dies again and again: {reason}; see `fox logs {pod.component}`",
                hop=pod.component,
            )
