"""Releases of a virtual environment: a state machine.

A release maps each app to the deployment that serves plain URLs. It is *pending* until its pods are
ready and it has no problems, then it is *active* and the one before it is archived. A pending
release that is aborted, or whose deadline passes, is archived, and the active one stays. A
withdrawal archives both.
Every function below takes a state and returns the next one.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from kubefox.bounded_history import bounded_history
from kubefox.deployment import Deployment
from kubefox.environment import EnvironmentData, HTTPAdapter, ReleasePolicy
from kubefox.errors import Problem, ReleaseNotFound
from kubefox.formats import Label, Name

MAX_APPS = 1_000
"""Apps of one release."""


class ReleasedApp(msgspec.Struct, frozen=True, kw_only=True):
    """The deployment that serves one app.

    Attributes:
        deployment: Name of the deployment.
        version: Version that the deployment must have; null accepts any.
    """

    deployment: Name
    version: Label | None = None


class ReleaseManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The frozen data of a Stable release.

    Attributes:
        id: The release's id.
        virtual_environment: Name of the virtual environment.
        deployments: App name to the deployment.
        data: Overlaid variables and secrets.
        adapters: HTTP adapters by name.
    """

    id: str
    virtual_environment: str
    deployments: dict[str, Deployment]
    data: EnvironmentData
    adapters: dict[str, HTTPAdapter] = {}


class ArchiveReason(Enum):
    """Why a release is no longer pending or active."""

    SUPERSEDED = "Superseded"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    WITHDRAWN = "Withdrawn"
    ABORTED = "Aborted"


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One release and its times.

    Attributes:
        id: Unique; sorts by time of request.
        apps: App name to its deployment.
        manifest: Id of the manifest, or None for live values (policy Testing).
        requested_at_s: Unix time.
        activated_at_s: Unix time, None while pending.
        archived_at_s: Unix time, None while pending or active.
        archive_reason: Why it was archived.
        problems: Why it was pending at the last check.
    """

    id: str
    apps: dict[str, ReleasedApp]
    manifest: str | None
    requested_at_s: float
    activated_at_s: float | None = None
    archived_at_s: float | None = None
    archive_reason: ArchiveReason | None = None
    problems: tuple[Problem, ...] = ()


class ReleaseState(msgspec.Struct, frozen=True, kw_only=True):
    """All releases of one virtual environment.

    Attributes:
        virtual_environment: Its name.
        active: The release that serves plain URLs.
        pending: The release that waits for its pods; a newer request replaces it.
        history: Archived releases, newest first.
    """

    virtual_environment: str
    active: Release | None = None
    pending: Release | None = None
    history: tuple[Release, ...] = ()


def request(state: ReleaseState, release: Release, policy: ReleasePolicy) -> ReleaseState:
    """Make ``release`` the pending one; a pending release before it is archived."""
    history = state.history
    if state.pending is not None:
        history = _archive(state.pending, ArchiveReason.SUPERSEDED, release.requested_at_s, history)
    return _trimmed(state, policy, pending=release, history=history)


def activate(state: ReleaseState, policy: ReleasePolicy, *, now_s: float) -> ReleaseState:
    """Make the pending release the active one and archive the one before it.

    Raises:
        ReleaseNotFound: No release is pending.
    """
    if state.pending is None:
        raise _no_pending(state)
    history = state.history
    if state.active is not None:
        history = _archive(state.active, ArchiveReason.SUPERSEDED, now_s, history)
    active = msgspec.structs.replace(state.pending, activated_at_s=now_s, problems=())
    return _trimmed(state, policy, active=active, pending=None, history=history)


def record_problems(state: ReleaseState, problems: tuple[Problem, ...]) -> ReleaseState:
    """Record the problems of the pending release, if there is one."""
    if state.pending is None:
        return state
    pending = msgspec.structs.replace(state.pending, problems=problems)
    return msgspec.structs.replace(state, pending=pending)


def expire(state: ReleaseState, policy: ReleasePolicy, *, now_s: float) -> ReleaseState:
    """Archive the pending release if its activation deadline has passed; else return ``state``."""
    pending = state.pending
    if pending is None or now_s < pending.requested_at_s + policy.activation_deadline_s:
        return state
    history = _archive(pending, ArchiveReason.DEADLINE_EXCEEDED, now_s, state.history)
    return _trimmed(state, policy, pending=None, history=history)


def abort(state: ReleaseState, policy: ReleasePolicy, *, now_s: float) -> ReleaseState:
    """Archive the pending release; the active one stays.

    Raises:
        ReleaseNotFound: No release is pending.
    """
    if state.pending is None:
        raise _no_pending(state)
    history = _archive(state.pending, ArchiveReason.ABORTED, now_s, state.history)
    return _trimmed(state, policy, pending=None, history=history)


def withdraw(state: ReleaseState, policy: ReleasePolicy, *, now_s: float) -> ReleaseState:
    """Archive the active and the pending release: no release serves plain URLs."""
    history = state.history
    # The active release comes first: requests in flight read its manifest, so even the shortest
    # history must keep it.
    for release in (state.pending, state.active):
        if release is not None:
            history = _archive(release, ArchiveReason.WITHDRAWN, now_s, history)
    return _trimmed(state, policy, active=None, pending=None, history=history)


def rollback_target(state: ReleaseState, release_id: str | None) -> Release:
    """Return the archived release to restore: the named one, or the last active one.

    Raises:
        ReleaseNotFound: No archived release can be restored.
    """
    for release in state.history:
        if release.activated_at_s is not None and release_id in {None, release.id}:
            return release
    wanted = f"release {release_id}" if release_id else "earlier active release"
    raise ReleaseNotFound(f"virtual environment {state.virtual_environment} has no {wanted}")


def rollback(
    state: ReleaseState, target: Release, policy: ReleasePolicy, *, now_s: float, new_id: str
) -> ReleaseState:
    """Make ``target`` pending again under a new id, with its whole manifest."""
    restored = Release(id=new_id, apps=target.apps, manifest=target.manifest, requested_at_s=now_s)
    return request(state, restored, policy)


def manifests_in_use(state: ReleaseState) -> frozenset[str]:
    """Return the ids of the manifests that the releases of ``state`` use."""
    releases = (state.active, state.pending, *state.history)
    return frozenset(release.manifest for release in releases if release and release.manifest)


def deployments_in_use(state: ReleaseState) -> frozenset[str]:
    """Return the names of the deployments that the active or pending release uses."""
    releases = (release for release in (state.active, state.pending) if release is not None)
    return frozenset(app.deployment for release in releases for app in release.apps.values())


def _no_pending(state: ReleaseState) -> ReleaseNotFound:
    return ReleaseNotFound(
        f"virtual environment {state.virtual_environment} has no pending release"
    )


def _archive(
    release: Release, reason: ArchiveReason, now_s: float, history: tuple[Release, ...]
) -> tuple[Release, ...]:
    return (
        msgspec.structs.replace(release, archived_at_s=now_s, archive_reason=reason),
        *history,
    )


def _trimmed(
    state: ReleaseState, policy: ReleasePolicy, *, history: tuple[Release, ...], **changes: object
) -> ReleaseState:
    kept = bounded_history(history, policy.history_limit)
    return msgspec.structs.replace(state, history=kept, **changes)
