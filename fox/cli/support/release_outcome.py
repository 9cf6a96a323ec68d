"""The outcome of a release: waits until it is active, and prints what plain URLs are routed to."""

from __future__ import annotations

import sys
from typing import Any

from fox.cli.support.control_client import ControlClient
from fox.cli.support.followed import wait_followed
from fox.cli.support.kinds import RELEASES
from fox.cli.support.output import Output, show
from fox.cli.support.polling import poll_until
from fox.cli.support.tables import print_to, problems_table
from kubefox.errors import Conflict, DeadlineExceeded, FoxError
from kubefox.release import ArchiveReason, Release, ReleaseState


def show_outcome(
    control: ControlClient,
    document: Any,
    *,
    wait_s: float | None,
    output: Output,
    may_drop: bool = False,
) -> None:
    """Wait for a release, and print the resulting state of its virtual environment.

    Args:
        control: The control API that accepted the release.
        document: The state that it returned.
        wait_s: Longest time to wait until the release is active; None does not wait.
        output: Output format.
        may_drop: Whether the command drops a pending release; the output says so then.

    Raises:
        Conflict: A newer release replaced it, or it was withdrawn.
        DeadlineExceeded: It did not become active in time.
    """
    state: ReleaseState = RELEASES.record_of(document)
    if wait_s is not None:
        if state.pending is not None:
            environment, release_id = state.virtual_environment, state.pending.id
            document = _wait_active(control, environment, release_id, wait_s)
            state = RELEASES.record_of(document)
        wait_followed(control, document["revision"])
    show(output, state, lambda: _print_state(state, may_drop=may_drop))


def _wait_active(
    control: ControlClient, virtual_environment: str, release_id: str, wait_s: float
) -> Any:
    """Return the document of the releases when a release is active."""

    def check() -> tuple[str, Any]:
        document = control.get("v1", RELEASES.path, virtual_environment)
        state: ReleaseState = RELEASES.record_of(document)
        if state.pending is not None and state.pending.id == release_id:
            return "; ".join(problem.message for problem in state.pending.problems), None
        for release in state.history:
            if release.id == release_id and release.activated_at_s is None:
                raise _not_activated(virtual_environment, release)
        return "", document

    return poll_until(
        check,
        f"releasing in {virtual_environment}",
        wait_s,
        consequence="the release is still pending and may become active later, see "
        f"`fox get releases {virtual_environment}`",
    )


def _not_activated(virtual_environment: str, release: Release) -> FoxError:
    name = f"release {release.id} in {virtual_environment}"
    if release.archive_reason is ArchiveReason.SUPERSEDED:
        return Conflict(f"{name} was replaced by a newer release before it became active")
    if release.archive_reason is ArchiveReason.ABORTED:
        return Conflict(f"{name} was aborted before it became active")
    if release.archive_reason is ArchiveReason.WITHDRAWN:
        return Conflict(f"{name} was withdrawn before it became active")
    print_to(sys.stderr, problems_table(release.problems))
    return DeadlineExceeded(
        f"{name} did not become active before its deadline and is archived; plain URLs are routed "
        "as before"
    )


def _print_dropped(state: ReleaseState) -> None:
    """Print which pending release was dropped, if that was the latest change."""
    if state.pending is not None or not state.history:
        return
    latest = state.history[0]
    is_newest = state.active is None or state.active.requested_at_s <= latest.requested_at_s
    if is_newest and latest.archive_reason is ArchiveReason.ABORTED:
        targets = ", ".join(target.deployment for target in latest.apps.values())
        sys.stdout.write(
            f"the pending release of {targets} in {state.virtual_environment} is dropped\n"
        )


def _print_state(state: ReleaseState, *, may_drop: bool) -> None:
    environment = state.virtual_environment
    if may_drop:
        _print_dropped(state)
    if state.pending is not None:
        sys.stdout.write(f"release {state.pending.id} in {environment} is pending\n")
        if state.pending.problems:
            print_to(sys.stdout, problems_table(state.pending.problems))
    if state.pending is None and state.active is None:
        sys.stdout.write(f"nothing is released in {environment}\n")
    released = state.active.apps if state.active else {}
    for app, target in released.items():
        version = f" ({target.version})" if target.version else ""
        sys.stdout.write(
            f"plain URLs of {app} in {environment} are routed to {target.deployment}{version}\n"
        )
