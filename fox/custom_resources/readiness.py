"""Whether the release that a resource requests is in effect."""

from __future__ import annotations

from collections.abc import Mapping

from fox.custom_resources.conditions import APPLIED, Verdict
from kubefox.release import Release, ReleasedApp, ReleaseState

_REPLACED = (
    "the release of the resource is neither active nor pending: another one was requested, it was "
    "aborted, or its deadline has passed. Change spec.release to request it again"
)


def readiness(state: ReleaseState, wanted: Mapping[str, ReleasedApp] | None) -> Verdict:
    """Return whether a release is in effect.

    Args:
        state: Releases of the virtual environment.
        wanted: Deployment of each app that the resource releases; empty withdraws, None for no
            release in the resource.
    """
    if wanted is None:
        return APPLIED
    if _has(state.pending, wanted):
        assert state.pending is not None  # noqa: S101 - it has the apps
        problems = "; ".join(problem.message for problem in state.pending.problems)
        return Verdict(False, "ReleasePending", problems or "its pods are not ready yet")
    if state.pending is None and (_has(state.active, wanted) or not (state.active or wanted)):
        return Verdict(True, "Released")
    return Verdict(False, "ReleaseReplaced", _REPLACED)


def _has(release: Release | None, wanted: Mapping[str, ReleasedApp]) -> bool:
    """Return whether a release has exactly these deployments."""
    if release is None:
        return False
    found = {app: released.deployment for app, released in release.apps.items()}
    return found == {app: released.deployment for app, released in wanted.items()}
