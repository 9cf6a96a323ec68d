"""The outcome of a rollout: waits until the deployment has its new content, or says why not."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from fox.cli.support.control_client import ControlClient
from fox.cli.support.followed import wait_followed
from fox.cli.support.kinds import DEPLOYMENTS, DeploymentStatus
from fox.cli.support.output import Output, show
from fox.cli.support.phrases import source_text
from fox.cli.support.polling import poll_until
from kubefox.errors import ComponentFailed, Conflict, FoxError, NotFound, Problem
from kubefox.rollout import Rollout, RolloutPhase


def rolling_of(deployment: DeploymentStatus) -> Rollout | None:
    """Return the rollout of a deployment if it is rolling."""
    rollout = deployment.rollout
    return rollout if rollout is not None and rollout.phase is RolloutPhase.ROLLING else None


def show_outcome(
    control: ControlClient, document: Any, *, wait_s: float | None, output: Output
) -> None:
    """Wait for a rollout, and print the resulting deployment.

    Args:
        control: The control API that has begun the rollout.
        document: The deployment that it returned.
        wait_s: Longest time to wait until the rollout is complete; None does not wait.
        output: Output format.

    Raises:
        FoxError: See ``wait_switched``.
    """
    deployment: DeploymentStatus = DEPLOYMENTS.record_of(document)
    print_warnings(deployment.warnings)
    if wait_s is not None:
        document = wait_switched(control, document, wait_s)
        deployment = DEPLOYMENTS.record_of(document)
        wait_followed(control, document["revision"])
    show(output, deployment, lambda: print_rollout(deployment))


def print_rollout(deployment: DeploymentStatus) -> None:
    """Print the generation of a deployment, and the one to which it is rolling out."""
    name = deployment.name
    if (rollout := rolling_of(deployment)) is not None:
        sys.stdout.write(
            f"deployment {name} is rolling out to generation {rollout.target.generation}, "
            f"see `fox get deployments {name}`\n"
        )
    else:
        if deployment.rollout is not None and deployment.rollout.phase is RolloutPhase.ABORTED:
            dropped = deployment.rollout.target.generation
            sys.stdout.write(f"the rollout of {name} to generation {dropped} is dropped\n")
        source = source_text(deployment.source)
        sys.stdout.write(
            f"deployment {name} is at generation {deployment.generation}"
            f"{source and f' ({source})'}\n"
        )


def print_warnings(warnings: Iterable[Problem]) -> None:
    """Print, on standard error, the variables that virtual environments lack."""
    for problem in warnings:
        cure = "set it with `fox apply`, or give it a default in kit.env"
        sys.stderr.write(f"warning: {problem.message}: {cure}\n")


def wait_switched(control: ControlClient, document: Any, timeout_s: float) -> Any:
    """Return the document of a deployment when its rollout is complete; at once if it has none.

    Args:
        control: The control API that has begun the rollout.
        document: The deployment that it returned.
        timeout_s: Longest time to wait.

    Raises:
        ComponentFailed: The rollout failed; the deployment has the content that it had.
        Conflict: The rollout was aborted or replaced, or the deployment was removed.
        DeadlineExceeded: The rollout is still rolling.
    """
    deployment: DeploymentStatus = DEPLOYMENTS.record_of(document)
    rollout = rolling_of(deployment)
    if rollout is None:
        return document
    name, generation = deployment.name, rollout.target.generation

    def check() -> tuple[str, Any]:
        latest_document = _find(control, name)
        found: DeploymentStatus = DEPLOYMENTS.record_of(latest_document)
        if found.generation == generation:
            return "", latest_document
        latest = found.rollout
        if latest is None or latest.target.generation != generation:
            raise Conflict(
                f"the rollout of {name} to generation {generation} was replaced by a later deploy, "
                f"see `fox history {name}`"
            )
        if latest.phase is not RolloutPhase.ROLLING:
            raise _ended(found, latest)
        return "; ".join(problem.message for problem in latest.problems), None

    return poll_until(
        check,
        f"rolling {name} out to generation {generation}",
        timeout_s,
        consequence="the rollout goes on and may become ready later, "
        f"see `fox get deployments {name}`",
    )


def _find(control: ControlClient, name: str) -> Any:
    try:
        return control.get("v1", DEPLOYMENTS.path, name)
    except NotFound as error:
        raise Conflict(
            f"deployment {name} was removed while this command waited for its rollout"
        ) from error


def _ended(deployment: DeploymentStatus, rollout: Rollout) -> FoxError:
    """Return the error for a rollout that failed or was aborted."""
    title = f"the rollout of {deployment.name} to generation {rollout.target.generation}"
    stays = f"{deployment.name} stays at generation {deployment.generation}"
    if rollout.phase is RolloutPhase.ABORTED:
        return Conflict(f"{title} was aborted: {stays}")
    reasons = "; ".join(problem.message for problem in rollout.problems) or "its time is over"
    components = dict.fromkeys(
        problem.path.removeprefix("components.")
        for problem in rollout.problems
        if problem.path.startswith("components.") and problem.path.count(".") == 1
    )
    logs = " and ".join(f"`fox logs {component}`" for component in components)
    return ComponentFailed(f"{title} failed, {stays}: {reasons}{logs and f'; see {logs}'}")
