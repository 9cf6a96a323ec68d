"""Which deployment a release selector means: a name, commit, version, tag or branch."""

from __future__ import annotations

from collections.abc import Mapping

from model.deployment import Deployment
from model.errors import DeploymentNotFound, InvalidRequest


def select_deployment(
    deployments: Mapping[str, Deployment], selector: str, app: str = ""
) -> Deployment:
    """Return the one deployment that answers to ``selector``; its name wins over all else.

    Args:
        deployments: All there are, by name.
        selector: What the user wrote.
        app: Narrows to one app; empty means any.

    Raises:
        DeploymentNotFound: None answers to it.
        InvalidRequest: Several do; the message lists them.
    """
    named = deployments.get(selector)
    if named is not None and app in {"", named.app}:
        return named
    candidates = [
        each for each in deployments.values() if each.answers_to(selector) and app in {"", each.app}
    ]
    if not candidates:
        of_app = f" of app {app}" if app else ""
        raise DeploymentNotFound(f"no deployment{of_app} answers to {selector!r}")
    if len(candidates) > 1:
        names = ", ".join(sorted(f"{each.name} (app {each.app})" for each in candidates))
        raise InvalidRequest(f"{selector!r} can mean {names}: give the name of one")
    return candidates[0]
