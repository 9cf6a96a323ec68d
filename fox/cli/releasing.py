"""Follows a release that was asked for until it is active, and tells what plain URLs mean then."""

from __future__ import annotations

import sys
from typing import Any

from fox.cli.client import Control
from fox.cli.kinds import RELEASES
from fox.cli.output import Output, show
from fox.cli.tables import problems_table, to_stream
from fox.cli.waiting import wait_for
from model.errors import Conflict, DeadlineExceeded, FoxError
from model.release import ArchiveReason, Release, ReleaseState


def finish(control: Control, answer: Any, *, wait_s: float | None, output: Output) -> None:
    """Tell what became of a release.

    Args:
        control: Where it was asked for.
        answer: The state it answered with.
        wait_s: How long to wait until it is active; None does not wait.
        output: How to print the state in the end.

    Raises:
        Conflict: A newer release took its place, or it was withdrawn.
        DeadlineExceeded: It did not become active in time.
    """
    state: ReleaseState = RELEASES.record_of(answer)
    if state.pending is not None and wait_s is not None:
        state = _wait_active(control, state.virtual_environment, state.pending.id, wait_s)
    show(output, state, lambda: _tell(state))


def _wait_active(control: Control, name: str, release_id: str, wait_s: float) -> ReleaseState:
    def look() -> tuple[str, ReleaseState | None]:
        state: ReleaseState = RELEASES.record_of(control.get("v1", RELEASES.path, name))
        if state.pending is not None and state.pending.id == release_id:
            return "; ".join(each.message for each in state.pending.problems), None
        for release in state.history:
            if release.id == release_id and release.activated_at_s is None:
                raise _archived(name, release)
        return "", state

    pending = f"it is still pending and may become active later, see `fox get releases {name}`"
    return wait_for(look, f"releasing in {name}", wait_s, then=pending)


def _archived(name: str, release: Release) -> FoxError:
    if release.archive_reason is ArchiveReason.SUPERSEDED:
        return Conflict(f"release {release.id} in {name}: a newer one was asked for meanwhile")
    if release.archive_reason is ArchiveReason.WITHDRAWN:
        return Conflict(f"release {release.id} in {name} was withdrawn meanwhile")
    to_stream(problems_table(release.problems), sys.stderr)
    return DeadlineExceeded(
        f"release {release.id} in {name} did not become active before its deadline and is "
        "archived; plain URLs go where they went before"
    )


def _tell(state: ReleaseState) -> None:
    if state.pending is not None:
        sys.stdout.write(f"release {state.pending.id} in {state.virtual_environment} is pending\n")
        if state.pending.problems:
            to_stream(problems_table(state.pending.problems), sys.stdout)
    if state.pending is None and state.active is None:
        sys.stdout.write(f"plain URLs of {state.virtual_environment} go nowhere\n")
    served = state.active.apps.items() if state.active else ()
    for app, each in served:
        version = f" ({each.version})" if each.version else ""
        where = f"{app} in {state.virtual_environment}"
        sys.stdout.write(f"plain URLs of {where} go to {each.deployment}{version}\n")
