"""The right that each operation needs: a role, for what the operation touches.

This is the only table of rights. The OpenAPI document and the pages of the documentation are made
from it. An operation without a row here does not start.

What a change touches is read again in each attempt of its transaction, so that it is true for the
data that the change is written on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec

from control.api import touched
from control.api.operation import ApiRequest, ApiServices, Operation
from kubefox.grants import Role, Target

Touches = Callable[[ApiServices, ApiRequest], Awaitable[Iterable[Target]]]


class Right(msgspec.Struct, frozen=True, kw_only=True):
    """The right that an operation needs.

    Attributes:
        role: The role; None for an operation that needs no token.
        touches: Returns for what the caller must have it; nothing means for any target.
        scope: Description of that, behind the role.
        is_change: Whether the operation changes something, so that it is in the audit log.
    """

    role: Role | None
    touches: Touches
    scope: str
    is_change: bool = False

    @property
    def text(self) -> str:
        """Description of the right, such as ``view, for the app``."""
        return ", ".join(filter(None, (self.role.value if self.role else "none", self.scope)))


_SHOWN = "for anything; shows what the role covers"
_EVERYTHING = "for all apps and virtual environments"
_OF_DEPLOYMENT = "for the app of the deployment"
_LIVE = (
    "for the app of the deployment, and for each virtual environment whose active or pending "
    "release names it"
)
_SHARED = "for the app of the deployment, in the virtual environment"
_OF_APP = "for the app"
_OF_VIRTUAL = "for all apps, in the virtual environment and its environment"
_OF_LETTER = "for the app and the virtual environment of the event"
_NAMED = "for the virtual environment"
_OF_RELEASE = (
    "for each app whose deployment changes, in the virtual environment; a withdrawal changes all"
)
_OF_RELEASES = "for each app of the releases that change, in the virtual environment"


def _right(role: Role | None, touches: Touches, scope: str, *, is_change: bool = False) -> Right:
    return Right(role=role, touches=touches, scope=scope, is_change=is_change)


def _change(role: Role, touches: Touches, scope: str) -> Right:
    return _right(role, touches, scope, is_change=True)


def _view(touches: Touches, scope: str) -> Right:
    return _right(Role.VIEW, touches, scope)


_PUBLIC = _right(None, touched.anything, "")
_LIST = _view(touched.anything, _SHOWN)

RIGHTS: Mapping[str, Right] = {
    "GET /healthz": _PUBLIC,
    "GET /readyz": _PUBLIC,
    "GET /v1/version": _view(touched.anything, "for anything"),
    "GET /v1/status": _view(touched.everything, _EVERYTHING),
    "POST /v1/plans": _right(Role.DEPLOY, touched.plan, "for the app, and that of the deployment"),
    "PUT /v1/bundles/{hash}": _change(Role.DEPLOY, touched.anything, "for anything"),
    "GET /v1/deployments": _LIST,
    "GET /v1/deployments/{name}": _view(touched.deployment, _OF_DEPLOYMENT),
    "PUT /v1/deployments/{name}": _change(Role.DEPLOY, touched.deploy, _LIVE),
    "GET /v1/deployments/{name}/history": _view(touched.deployment, _OF_DEPLOYMENT),
    "POST /v1/deployments/{name}/undo": _change(Role.DEPLOY, touched.live_deployment, _LIVE),
    "POST /v1/deployments/{name}/abort": _change(Role.DEPLOY, touched.live_deployment, _LIVE),
    "DELETE /v1/deployments/{name}": _change(Role.DEPLOY, touched.live_deployment, _LIVE),
    "POST /v1/prune": _change(Role.ADMIN, touched.everything, _EVERYTHING),
    "GET /v1/environments": _LIST,
    "GET /v1/environments/{name}": _view(touched.virtual_environment, "for the environment"),
    "PUT /v1/environments/{name}": _change(
        Role.ADMIN,
        touched.environment,
        "for all apps, in the environment and its virtual environments",
    ),
    "DELETE /v1/environments/{name}": _change(
        Role.ADMIN,
        touched.environment,
        "for all apps, in the environment and its virtual environments",
    ),
    "GET /v1/virtual-environments": _LIST,
    "GET /v1/virtual-environments/{name}": _view(touched.virtual_environment, _NAMED),
    "PUT /v1/virtual-environments/{name}": _change(
        Role.ADMIN, touched.put_virtual_environment, _OF_VIRTUAL
    ),
    "DELETE /v1/virtual-environments/{name}": _change(
        Role.ADMIN, touched.delete_virtual_environment, _OF_VIRTUAL
    ),
    "GET /v1/http-adapters": _LIST,
    "GET /v1/http-adapters/{name}": _view(touched.anything, "for anything"),
    "PUT /v1/http-adapters/{name}": _change(Role.ADMIN, touched.everything, _EVERYTHING),
    "DELETE /v1/http-adapters/{name}": _change(Role.ADMIN, touched.everything, _EVERYTHING),
    "GET /v1/releases": _LIST,
    "GET /v1/releases/{name}": _view(touched.virtual_environment, _NAMED),
    "POST /v1/releases/{name}": _change(Role.RELEASE, touched.release, _OF_RELEASE),
    "POST /v1/releases/{name}/rollback": _change(Role.RELEASE, touched.rollback, _OF_RELEASES),
    "POST /v1/releases/{name}/abort": _change(Role.RELEASE, touched.pending, _OF_RELEASES),
    "GET /v1/followers": _view(touched.anything, "for anything"),
    "GET /v1/pods": _LIST,
    "GET /v1/pods/{pod}": _view(touched.pod, "for the app of the pod"),
    "GET /v1/idle-versions": _LIST,
    "GET /v1/logs": _LIST,
    "GET /v1/stats": _LIST,
    "GET /v1/traces": _LIST,
    "GET /v1/traces/{trace}": _LIST,
    "GET /metrics": _view(touched.everything, _EVERYTHING),
    "GET /v1/explain": _LIST,
    "GET /v1/dead-letters": _LIST,
    "GET /v1/dead-letters/{id}": _view(touched.dead_letter, _OF_LETTER),
    "POST /v1/dead-letters/{id}/redeliver": _change(Role.DEPLOY, touched.dead_letter, _OF_LETTER),
    "DELETE /v1/dead-letters/{id}": _change(Role.DEPLOY, touched.dead_letter, _OF_LETTER),
    "GET /v1/scales": _LIST,
    "GET /v1/shares": _LIST,
    "POST /v1/shares": _change(Role.DEPLOY, touched.new_share, _SHARED),
    "GET /v1/shares/{name}": _view(touched.share, _SHARED),
    "DELETE /v1/shares/{name}": _change(Role.DEPLOY, touched.share, _SHARED),
    "GET /v1/audit-records": _right(Role.ADMIN, touched.everything, _EVERYTHING),
    "GET /v1/audit-records/{id}": _right(Role.ADMIN, touched.everything, _EVERYTHING),
    "POST /v1/tokens": _change(Role.ADMIN, touched.everything, _EVERYTHING),
    "GET /v1/tokens": _right(Role.ADMIN, touched.everything, _EVERYTHING),
    "DELETE /v1/tokens/{name}": _change(Role.ADMIN, touched.everything, _EVERYTHING),
    "GET /v1/keys": _right(Role.ADMIN, touched.everything, _EVERYTHING),
    "POST /v1/keys/rotate": _change(Role.ADMIN, touched.everything, _EVERYTHING),
    "POST /v1/keys/drop-replaced": _change(Role.ADMIN, touched.everything, _EVERYTHING),
    "POST /v1/keys/reseal": _change(Role.ADMIN, touched.everything, _EVERYTHING),
    "POST /v1/scales": _change(Role.DEPLOY, touched.scale, _OF_APP),
}


def right_of(operation: Operation) -> Right:
    """Return the right that an operation needs.

    Raises:
        KeyError: The table lacks it.
    """
    return RIGHTS[operation.key]
