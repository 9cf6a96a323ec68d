"""Which deployment a release selector means: a name, commit, version, tag or branch."""

from __future__ import annotations

from heapq import nsmallest

from model.deployment import Deployment
from model.errors import DeploymentNotFound, InvalidRequest
from routing.snapshot import Snapshot

# Every deployment of a team may be of one branch: nobody reads on after some.
MAX_LISTED = 10


def select_deployment(snapshot: Snapshot, selector: str, app: str = "") -> Deployment:
    """Return the one deployment that answers to ``selector``; its name wins over all else.

    Args:
        snapshot: Holds all there are.
        selector: What the user wrote.
        app: Narrows to one app; empty means any.

    Raises:
        DeploymentNotFound: None answers to it.
        InvalidRequest: Several do; the message lists some of them.
    """
    named = snapshot.deployments.get(selector)
    if named is not None and app in {"", named.app}:
        return named
    candidates = [each for each in snapshot.answering(selector) if app in {"", each.app}]
    if not candidates:
        of_app = f" of app {app}" if app else ""
        raise DeploymentNotFound(f"no deployment{of_app} answers to {selector!r}")
    if len(candidates) > 1:
        raise InvalidRequest(f"{selector!r} can mean {_listed(candidates)}: give the name of one")
    return candidates[0]


def _listed(candidates: list[Deployment]) -> str:
    first = nsmallest(MAX_LISTED, candidates, key=lambda each: each.name)
    names = ", ".join(f"{each.name} (app {each.app})" for each in first)
    more = len(candidates) - len(first)
    return f"{names} and {more} more" if more else names
