"""The next state of a virtual environment's releases, decided from one moment's data.

Pure: what is known of the world comes as a ``Scene``; ``broker.control.releases`` carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from broker.control.contents import (
    Contents,
    app_problems,
    contents_of,
    live_contents,
    policy_in_force,
    readiness_problems,
)
from model.distill import Version
from model.environment import PolicyType, ReleasePolicy
from model.errors import EnvironmentNotFound, NotFound, Problem, ProblemsFound
from model.release import (
    Release,
    ReleasedApp,
    ReleaseManifest,
    ReleaseState,
    activate,
    expire,
    note,
    request,
    rollback,
    rollback_target,
    withdraw,
)
from routing.snapshot import Snapshot
from routing.validate import release_problems

Apps = Mapping[str, ReleasedApp]


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at the moment of a decision.

    Attributes:
        snapshot: The control plane's data.
        ready: Component versions of which a pod is ready.
        now_s: Unix time.
        new_id: Id for a release that is requested now.
    """

    snapshot: Snapshot
    ready: frozenset[Version]
    now_s: float
    new_id: str


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A state that is to be written, with the manifest it needs if that is a new one."""

    state: ReleaseState
    manifest: ReleaseManifest | None = None


def draft_request(scene: Scene, state: ReleaseState, apps: Apps) -> Draft:
    """Return the draft that requests ``apps``, active already if nothing is missing.

    What is active already, with equal contents, is not released again.

    Raises:
        EnvironmentNotFound: The virtual environment does not exist.
        ProblemsFound: The apps cannot be released.
    """
    name = state.virtual_environment
    policy = policy_in_force(scene.snapshot, name)
    contents = live_contents(scene.snapshot, name, apps)
    _check(scene, name, apps, contents, policy)
    if _is_active(scene, state, apps, contents, policy):
        return Draft(state=state)
    is_frozen = policy.type is PolicyType.STABLE
    release = Release(
        id=scene.new_id,
        apps=dict(apps),
        manifest=scene.new_id if is_frozen else None,
        requested_at_s=scene.now_s,
    )
    return Draft(
        state=_advanced(scene, request(state, release, policy), contents, policy),
        manifest=contents.freeze(name, scene.new_id) if is_frozen else None,
    )


def draft_rollback(scene: Scene, state: ReleaseState, release_id: str | None) -> Draft:
    """Return the draft that requests an archived release again, with the manifest it had.

    Raises:
        EnvironmentNotFound: The virtual environment does not exist.
        ReleaseNotFound: There is no such release, or its manifest is missing.
        ProblemsFound: It can no longer be released.
    """
    name = state.virtual_environment
    policy = policy_in_force(scene.snapshot, name)
    target = rollback_target(state, release_id)
    contents = contents_of(scene.snapshot, name, target)
    _check(scene, name, target.apps, contents, policy)
    pending = rollback(state, target, policy, now_s=scene.now_s, new_id=scene.new_id)
    return Draft(state=_advanced(scene, pending, contents, policy))


def draft_withdrawal(scene: Scene, state: ReleaseState) -> Draft:
    """Return the draft in which nothing is active or pending.

    Raises:
        EnvironmentNotFound: The virtual environment does not exist.
    """
    policy = policy_in_force(scene.snapshot, state.virtual_environment)
    return Draft(state=withdraw(state, policy, now_s=scene.now_s))


def review(scene: Scene, state: ReleaseState) -> ReleaseState:
    """Return the state with its pending release activated, archived, or with what it waits for."""
    pending = state.pending
    if pending is None:
        return state
    name = state.virtual_environment
    policy = policy_or_default(scene.snapshot, name)
    try:
        contents = contents_of(scene.snapshot, name, pending)
    except NotFound as error:
        gone = Problem(type=type(error).__name__, message=error.detail, path="")
        return expire(note(state, (gone,)), policy, now_s=scene.now_s)
    problems = _problems(scene, name, pending.apps, contents, policy)
    if problems:
        return expire(note(state, problems), policy, now_s=scene.now_s)
    return expire(_advanced(scene, state, contents, policy), policy, now_s=scene.now_s)


def policy_or_default(snapshot: Snapshot, virtual_environment: str) -> ReleasePolicy:
    """Return the policy in force, the default one when the environment is gone."""
    try:
        return policy_in_force(snapshot, virtual_environment)
    except EnvironmentNotFound:
        return ReleasePolicy()


def _advanced(
    scene: Scene, state: ReleaseState, contents: Contents, policy: ReleasePolicy
) -> ReleaseState:
    """Return the state with its pending release activated, or with the pods it waits for."""
    waits_for = tuple(readiness_problems(contents, scene.ready))
    return note(state, waits_for) if waits_for else activate(state, policy, now_s=scene.now_s)


def _check(scene: Scene, name: str, apps: Apps, contents: Contents, policy: ReleasePolicy) -> None:
    problems = _problems(scene, name, apps, contents, policy)
    if problems:
        raise ProblemsFound(f"cannot be released in virtual environment {name}", problems)


def _problems(
    scene: Scene, name: str, apps: Apps, contents: Contents, policy: ReleasePolicy
) -> tuple[Problem, ...]:
    return (
        *app_problems(apps, contents, policy),
        *release_problems(name, contents.deployments, contents.data.vars, scene.snapshot),
    )


def _is_active(
    scene: Scene, state: ReleaseState, apps: Apps, contents: Contents, policy: ReleasePolicy
) -> bool:
    active = state.active
    if active is None or state.pending is not None or active.apps != apps:
        return False
    if (active.manifest is not None) != (policy.type is PolicyType.STABLE):
        return False
    try:
        return contents_of(scene.snapshot, state.virtual_environment, active) == contents
    except NotFound:
        return False
