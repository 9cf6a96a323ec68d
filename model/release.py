"""Releases of a virtual environment: what a plain URL means there.

A release maps each app to a deployment. It is *pending* until its pods are ready and nothing is a
problem, then *active*; the one before it is archived. A pending release whose deadline passes is
archived and the active one stays. Both go when they are withdrawn. Every step below takes a state
and returns the next one.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from model.deployment import Deployment
from model.environment import EnvironmentData, HTTPAdapter, ReleasePolicy
from model.errors import Problem, ReleaseNotFound


class ReleasedApp(msgspec.Struct, frozen=True, kw_only=True):
    """The deployment that serves one app."""

    deployment: str
    version: str | None = None


class ReleaseManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a Stable release froze.

    Attributes:
        id: The release's id.
        virtual_environment: Whose release it is.
        deployments: App name to the deployment as it was.
        data: Overlaid variables and secrets as they were.
        adapters: HTTP adapters as they were, by name.
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


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One release and its times.

    Attributes:
        id: Unique; sorts by time of request.
        apps: App name to what serves it.
        manifest: Id of the manifest, or None for live values (policy Testing).
        requested_at_s: Unix time.
        activated_at_s: Unix time, None while pending.
        archived_at_s: Unix time, None while pending or active.
        archive_reason: Why it was archived.
        problems: What kept it pending when it was last looked at.
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
        active: What plain URLs are served by.
        pending: What waits for its pods; a newer request replaces it.
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
        ReleaseNotFound: Nothing is pending.
    """
    if state.pending is None:
        raise ReleaseNotFound(
            f"virtual environment {state.virtual_environment} has nothing pending"
        )
    history = state.history
    if state.active is not None:
        history = _archive(state.active, ArchiveReason.SUPERSEDED, now_s, history)
    active = msgspec.structs.replace(state.pending, activated_at_s=now_s, problems=())
    return _trimmed(state, policy, active=active, pending=None, history=history)


def note(state: ReleaseState, problems: tuple[Problem, ...]) -> ReleaseState:
    """Keep on the pending release, if there is one, what it waits for."""
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


def withdraw(state: ReleaseState, policy: ReleasePolicy, *, now_s: float) -> ReleaseState:
    """Archive the active and the pending release: plain URLs lead nowhere."""
    history = state.history
    # The active one in front: the shortest history still holds the manifest that requests in
    # flight read.
    for release in (state.pending, state.active):
        if release is not None:
            history = _archive(release, ArchiveReason.WITHDRAWN, now_s, history)
    return _trimmed(state, policy, active=None, pending=None, history=history)


def rollback_target(state: ReleaseState, release_id: str | None) -> Release:
    """Return the archived release to restore: the named one, or the last that was active.

    Raises:
        ReleaseNotFound: There is none.
    """
    for release in state.history:
        if release.activated_at_s is not None and release_id in {None, release.id}:
            return release
    wanted = f"release {release_id}" if release_id else "earlier active release"
    raise ReleaseNotFound(f"virtual environment {state.virtual_environment} has no {wanted}")


def rollback(
    state: ReleaseState, target: Release, policy: ReleasePolicy, *, now_s: float, new_id: str
) -> ReleaseState:
    """Make ``target`` pending again under a new id, with the manifest it had, whole."""
    restored = Release(id=new_id, apps=target.apps, manifest=target.manifest, requested_at_s=now_s)
    return request(state, restored, policy)


def manifests_in_use(state: ReleaseState) -> frozenset[str]:
    """Return the ids of the manifests that some release of ``state`` still names."""
    releases = (state.active, state.pending, *state.history)
    return frozenset(each.manifest for each in releases if each is not None and each.manifest)


def deployments_in_use(state: ReleaseState) -> frozenset[str]:
    """Return the names of the deployments that the active or pending release of ``state`` names."""
    releases = (each for each in (state.active, state.pending) if each is not None)
    return frozenset(app.deployment for each in releases for app in each.apps.values())


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
    return msgspec.structs.replace(state, history=history[: policy.history_limit], **changes)
