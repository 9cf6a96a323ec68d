"""The pods and idle versions of a deployment, and waiting until each component has one."""

from __future__ import annotations

from collections.abc import Iterable, Set
from itertools import chain

import msgspec

from fox.cli.support.control_client import ControlClient
from fox.cli.support.kinds import DEPLOYMENTS, IDLE_VERSIONS, PODS
from fox.cli.support.pages import documents
from fox.cli.support.phrases import count, listed
from fox.cli.support.polling import poll_until
from kubefox.deployment import Deployment
from kubefox.distill import versions_in_use
from kubefox.errors import ComponentFailed, Conflict, DeadlineExceeded, NotFound
from kubefox.pod import IdleVersion, PodPhase, PodStatus

# One restart may be an accident; after the second, waiting does not help.
MAX_RESTARTS = 2


class ServingPods(msgspec.Struct, frozen=True, kw_only=True):
    """The pods and idle versions that handle a deployment's events.

    Attributes:
        pods: Running pods.
        idle_versions: Component versions whose pods start with their next event.
    """

    pods: tuple[PodStatus, ...] = ()
    idle_versions: tuple[IdleVersion, ...] = ()


def wait_ready(control: ControlClient, deployment: Deployment, timeout_s: float) -> ServingPods:
    """Wait until each component of a deployment has a ready pod or is idle.

    An idle version is not activated: it has been ready with the same content before.

    Raises:
        ComponentFailed: A pod keeps ending.
        Conflict: The deployment was replaced or removed while this command waited.
        DeadlineExceeded: The pods were not ready in time.
    """
    try:
        return _wait_ready(control, deployment, timeout_s)
    except (ComponentFailed, DeadlineExceeded) as error:
        # The exit code alone would suggest that the deployment was not stored.
        error.detail = f"{deployment.name} is deployed, but not ready: {error.detail}"
        raise


def _wait_ready(control: ControlClient, deployment: Deployment, timeout_s: float) -> ServingPods:
    def check() -> tuple[str, ServingPods | None]:
        _check_unchanged(control, deployment)
        pods = pods_of(control, deployment)
        idle_versions = idle_versions_of(control, deployment)
        ready = {pod.component for pod in pods if pod.phase is PodPhase.READY}
        idle = {version.component for version in idle_versions}
        missing = deployment.components.keys() - ready - idle
        if missing:
            check_restarts(pods, missing)
            waiting = f"{count(len(ready), 'pod')} ready, waiting for {listed(missing)}"
            return "; ".join((waiting, *_reasons(pods, missing))), None
        return "", ServingPods(pods=pods, idle_versions=idle_versions)

    return poll_until(check, f"starting the pods of {deployment.name}", timeout_s)


def pods_of(control: ControlClient, *deployments: Deployment) -> tuple[PodStatus, ...]:
    """Return the pods of deployments' component versions; they may serve others too."""
    versions = versions_in_use(deployments)
    found = chain.from_iterable(
        documents(control, PODS.path, deployment=name)
        for name in {deployment.name for deployment in deployments}
    )
    pods: list[PodStatus] = PODS.records(found)
    return tuple(pod for pod in pods if pod.version in versions)


def idle_versions_of(control: ControlClient, deployment: Deployment) -> tuple[IdleVersion, ...]:
    """Return the idle component versions of a deployment."""
    versions = versions_in_use((deployment,))
    found = documents(control, IDLE_VERSIONS.path, deployment=deployment.name)
    idle_versions: list[IdleVersion] = IDLE_VERSIONS.records(found)
    return tuple(idle for idle in idle_versions if idle.version in versions)


def _reasons(pods: tuple[PodStatus, ...], missing: Set[str]) -> list[str]:
    """Return why the pods of some components are not ready, each once."""
    found = (f"{pod.component} {pod.message}" for pod in pods if pod.message)
    own = (text for text in found if text.partition(" ")[0] in missing)
    return sorted(set(own))


def _check_unchanged(control: ControlClient, deployment: Deployment) -> None:
    name = deployment.name
    try:
        stored: Deployment = DEPLOYMENTS.record_of(control.get("v1", DEPLOYMENTS.path, name))
    except NotFound as error:
        raise Conflict(
            f"deployment {name} was removed while this command waited for its pods"
        ) from error
    if versions_in_use((stored,)) != versions_in_use((deployment,)):
        raise Conflict(f"deployment {name} was replaced while this command waited for its pods")


def check_restarts(pods: Iterable[PodStatus], missing: Set[str]) -> None:
    """Check that no pod of the components without a ready one keeps ending.

    A pod of a component that has a ready one fails nothing: it may have ended for another reason,
    long before the deployment.

    Raises:
        ComponentFailed: One does.
    """
    for pod in pods:
        is_ending = pod.phase is PodPhase.BACK_OFF and pod.restarts >= MAX_RESTARTS
        if is_ending and pod.component in missing:
            reason = pod.message or "no reason was reported"
            raise ComponentFailed(
                f"pod {pod.id} keeps ending: {reason}; see `fox logs {pod.component}`",
                hop=pod.component,
            )
