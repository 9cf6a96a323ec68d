"""Details of a request for the audit log: never a value, a secret or a token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from control.api.messages import (
    DeployRequest,
    ForceQuery,
    PruneRequest,
    ReleaseRequest,
    RollbackRequest,
    TokenRequest,
    UndoRequest,
)
from control.api.operation import ApiRequest
from kubefox.environment import VirtualEnvironment
from kubefox.printable import shortened
from kubefox.scaling import ScaleChange
from kubefox.share import NewShare
from routing.snapshot.snapshot import Snapshot

MAX_TEXT = 256
# The records whose revisions show a change of an object, by the first part of its path.
_RECORDS = {
    "deployments": ("deployment", "rollout"),
    "environments": ("environment",),
    "virtual-environments": ("virtual-environment",),
    "http-adapters": ("http-adapter",),
    "releases": ("release",),
    "shares": ("share",),
}


def details_of(request: ApiRequest) -> dict[str, str]:
    """Return what a request asks for, by a name for each part."""
    asked = _DETAILS.get(type(request.body), _nothing)(request.body)
    if isinstance(request.query, ForceQuery) and request.query.force:
        asked = {**asked, "force": "true"}
    return {name: shortened(text)[:MAX_TEXT] for name, text in asked.items() if text}


def revision_of(path: str, name: str, snapshot: Snapshot) -> int:
    """Return the latest revision of the object that a path names; 0 without one."""
    kinds = _RECORDS.get(path.split("/")[2], ()) if name else ()
    found = (snapshot.records.kinds[kind].get(name) for kind in kinds)
    return max((entry.revision for entry in found if entry is not None), default=0)


def _nothing(_body: object) -> Mapping[str, str]:
    return {}


def _of_deploy(body: DeployRequest) -> Mapping[str, str]:
    deployment = body.deployment
    return {
        "app": deployment.app,
        "version": deployment.version or "",
        "components": " ".join(sorted(deployment.components)),
    }


def _of_release(body: ReleaseRequest) -> Mapping[str, str]:
    if body.apps is None:
        return {"selector": body.selector}
    named = (f"{app}={released.deployment}" for app, released in sorted(body.apps.items()))
    return {"apps": " ".join(named) or "none"}


_DETAILS: Mapping[type, Callable[[Any], Mapping[str, str]]] = {
    DeployRequest: _of_deploy,
    UndoRequest: lambda body: {"generation": str(body.generation or "")},
    ReleaseRequest: _of_release,
    RollbackRequest: lambda body: {"release": body.release},
    PruneRequest: lambda body: {
        "dry_run": str(body.dry_run).lower(),
        "with_state": str(body.with_state).lower(),
    },
    ScaleChange: lambda body: {"component": body.component, "deployment": body.deployment},
    TokenRequest: lambda body: {"name": body.name, "roles": " ".join(map(str, body.grants))},
    NewShare: lambda body: {
        "deployment": body.deployment,
        "virtual_environment": body.virtual_environment,
    },
    VirtualEnvironment: lambda body: {"environment": body.environment},
}
