"""Selection of a deployment by a release selector: a name, commit, version, tag or branch."""

from __future__ import annotations

from heapq import nsmallest

from kubefox.deployment import Deployment
from kubefox.errors import DeploymentNotFound, InvalidRequest
from routing.snapshot.snapshot import Snapshot

# A branch may match hundreds of deployments; a longer list would hide the message.
MAX_LISTED = 10


def select_deployment(snapshot: Snapshot, selector: str, app: str = "") -> Deployment:
    """Return the one deployment that ``selector`` matches. A name wins over everything else.

    Args:
        snapshot: Holds all deployments.
        selector: Name, commit, version, tag or branch of a deployment.
        app: Only deployments of this app match; empty means any app.

    Raises:
        DeploymentNotFound: No deployment matches.
        InvalidRequest: Several deployments match; the message lists some of them.
    """
    named = snapshot.deployments.get(selector)
    if named is not None and app in {"", named.app}:
        return named
    candidates = [
        deployment
        for deployment in snapshot.deployments_matching(selector)
        if app in {"", deployment.app}
    ]
    if not candidates:
        of_app = f" of app {app}" if app else ""
        raise DeploymentNotFound(
            f"no deployment{of_app} has the name, commit, version, tag or branch {selector!r}: "
            "see `fox get deployments`"
        )
    if len(candidates) > 1:
        raise InvalidRequest(
            f"{selector!r} matches several deployments: use the name of one: {_listed(candidates)}"
        )
    return candidates[0]


def _listed(candidates: list[Deployment]) -> str:
    first = nsmallest(MAX_LISTED, candidates, key=lambda deployment: deployment.name)
    names = ", ".join(f"{deployment.name} (app {deployment.app})" for deployment in first)
    more = len(candidates) - len(first)
    return f"{names} and {more} more" if more else names
