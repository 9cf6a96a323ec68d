"""Decisions about the next state of a virtual environment's releases.

Pure: every function decides from a ``DecisionInput``. ``control.releases`` writes the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import msgspec

from control.release_contents import (
    ReleaseContents,
    app_problems,
    contents_of,
    live_contents,
    policy_in_force,
    readiness_problems,
)
from kubefox.distill import Version
from kubefox.environment import PolicyType, ReleasePolicy
from kubefox.errors import EnvironmentNotFound, NotFound, Problem, ProblemsFound
from kubefox.release import (
    Release,
    ReleasedApp,
    ReleaseManifest,
    ReleaseState,
    abort,
    activate,
    expire,
    record_problems,
    request,
    rollback,
    rollback_target,
    withdraw,
)
from kubefox.steps import Steps
from routing.snapshot.snapshot import Snapshot
from routing.validate import release_problems

Apps = Mapping[str, ReleasedApp]


class DecisionInput(msgspec.Struct, frozen=True, kw_only=True):
    """The data that a decision is based on.

    Attributes:
        snapshot: The control plane's data.
        ready: Component versions that accept events.
        now_s: Unix time.
        new_id: Id for a new release.
    """

    snapshot: Snapshot
    ready: AbstractSet[Version]
    now_s: float
    new_id: str


class ReleaseChange(msgspec.Struct, frozen=True, kw_only=True):
    """A new state of the releases, to be written.

    Attributes:
        state: The new state.
        manifest: New manifest that the state names, to be written first; None without one.
    """

    state: ReleaseState
    manifest: ReleaseManifest | None = None


def decide_request(inputs: DecisionInput, state: ReleaseState, apps: Apps) -> Steps[ReleaseChange]:
    """Return, in steps, the change that requests ``apps``.

    The release is active at once if all its pods are ready.

    The state does not change if a release with equal contents is active already.

    Raises:
        EnvironmentNotFound: The virtual environment does not exist.
        ProblemsFound: The apps cannot be released.
    """
    name = state.virtual_environment
    policy = policy_in_force(inputs.snapshot, name)
    contents = live_contents(inputs.snapshot, name, apps)
    yield from _check(inputs, name, apps, contents, policy)
    if _is_active(inputs, state, apps, contents, policy):
        return ReleaseChange(state=state)
    is_frozen = policy.type is PolicyType.STABLE
    release = Release(
        id=inputs.new_id,
        apps=dict(apps),
        manifest=inputs.new_id if is_frozen else None,
        requested_at_s=inputs.now_s,
    )
    return ReleaseChange(
        state=_advanced(inputs, request(state, release, policy), contents, policy),
        manifest=contents.freeze(name, inputs.new_id) if is_frozen else None,
    )


def decide_rollback(
    inputs: DecisionInput, state: ReleaseState, release_id: str | None
) -> Steps[ReleaseChange]:
    """Return, in steps, the change that requests an archived release again, with its manifest.

    Without an id, a pending release is dropped and the active one stays.

    Raises:
        EnvironmentNotFound: The virtual environment does not exist.
        ReleaseNotFound: There is no such release, or its manifest is missing.
        ProblemsFound: The release can no longer be activated.
    """
    name = state.virtual_environment
    policy = policy_in_force(inputs.snapshot, name)
    if release_id is None and state.pending is not None:
        return ReleaseChange(state=abort(state, policy, now_s=inputs.now_s))
    target = rollback_target(state, release_id)
    contents = contents_of(inputs.snapshot, name, target)
    yield from _check(inputs, name, target.apps, contents, policy)
    pending = rollback(state, target, policy, now_s=inputs.now_s, new_id=inputs.new_id)
    return ReleaseChange(state=_advanced(inputs, pending, contents, policy))


def decide_abort(inputs: DecisionInput, state: ReleaseState) -> ReleaseChange:
    """Return the change that archives the pending release.

    Raises:
        EnvironmentNotFound: The virtual environment does not exist.
        ReleaseNotFound: No release is pending.
    """
    policy = policy_in_force(inputs.snapshot, state.virtual_environment)
    return ReleaseChange(state=abort(state, policy, now_s=inputs.now_s))


def decide_withdrawal(inputs: DecisionInput, state: ReleaseState) -> ReleaseChange:
    """Return the change that archives the active and the pending release.

    Raises:
        EnvironmentNotFound: The virtual environment does not exist.
    """
    policy = policy_in_force(inputs.snapshot, state.virtual_environment)
    return ReleaseChange(state=withdraw(state, policy, now_s=inputs.now_s))


def decide_pending(inputs: DecisionInput, state: ReleaseState) -> Steps[ReleaseState]:
    """Return, in steps, the state with the pending release activated, archived or with problems."""
    pending = state.pending
    if pending is None:
        return state
    name = state.virtual_environment
    policy = policy_or_default(inputs.snapshot, name)
    try:
        contents = contents_of(inputs.snapshot, name, pending)
    except NotFound as error:
        gone = Problem(type=type(error).__name__, message=error.detail, path="")
        return expire(record_problems(state, (gone,)), policy, now_s=inputs.now_s)
    problems = yield from _problems(inputs, name, pending.apps, contents, policy)
    if problems:
        return expire(record_problems(state, problems), policy, now_s=inputs.now_s)
    return expire(_advanced(inputs, state, contents, policy), policy, now_s=inputs.now_s)


def policy_or_default(snapshot: Snapshot, virtual_environment: str) -> ReleasePolicy:
    """Return the policy in force, or the default one if the environment does not exist."""
    try:
        return policy_in_force(snapshot, virtual_environment)
    except EnvironmentNotFound:
        return ReleasePolicy()


def _advanced(
    inputs: DecisionInput, state: ReleaseState, contents: ReleaseContents, policy: ReleasePolicy
) -> ReleaseState:
    """Return the state with its pending release activated, or with the pods that are not ready."""
    not_ready = tuple(readiness_problems(contents, inputs.ready))
    if not_ready:
        return record_problems(state, not_ready)
    return activate(state, policy, now_s=inputs.now_s)


def _check(
    inputs: DecisionInput, name: str, apps: Apps, contents: ReleaseContents, policy: ReleasePolicy
) -> Steps[None]:
    problems = yield from _problems(inputs, name, apps, contents, policy)
    if problems:
        raise ProblemsFound(f"the release in virtual environment {name} is not possible", problems)


def _problems(
    inputs: DecisionInput, name: str, apps: Apps, contents: ReleaseContents, policy: ReleasePolicy
) -> Steps[tuple[Problem, ...]]:
    found = yield from release_problems(
        name, contents.deployments, contents.data.vars, inputs.snapshot
    )
    return (*app_problems(apps, contents, policy), *found)


def _is_active(
    inputs: DecisionInput,
    state: ReleaseState,
    apps: Apps,
    contents: ReleaseContents,
    policy: ReleasePolicy,
) -> bool:
    active = state.active
    if active is None or state.pending is not None or active.apps != apps:
        return False
    if (active.manifest is not None) != (policy.type is PolicyType.STABLE):
        return False
    try:
        return contents_of(inputs.snapshot, state.virtual_environment, active) == contents
    except NotFound:
        return False
