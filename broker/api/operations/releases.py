"""What plain URLs mean."""

from __future__ import annotations

from broker.api.messages import ReleaseRequest, RollbackRequest
from broker.api.operation import Call, Operation, Parts
from broker.control.writes import Stored
from model.errors import InvalidRequest
from model.release import ReleaseState


async def _list_releases(parts: Parts, _call: Call) -> tuple[Stored[ReleaseState], ...]:
    return parts.control.releases.all()


async def _get_releases(parts: Parts, call: Call) -> Stored[ReleaseState]:
    return parts.control.releases.get(call.name)


async def _release(parts: Parts, call: Call) -> Stored[ReleaseState]:
    wanted: ReleaseRequest = call.body
    if bool(wanted.selector) == (wanted.apps is not None):
        raise InvalidRequest("expected either a selector or apps")
    if wanted.apps is not None:
        return await parts.control.releases.request_apps(call.name, wanted.apps)
    return await parts.control.releases.request(call.name, wanted.selector, wanted.app)


async def _roll_back(parts: Parts, call: Call) -> Stored[ReleaseState]:
    wanted: RollbackRequest = call.body
    return await parts.control.releases.rollback(call.name, wanted.release)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/releases",
        summary="Releases of every virtual environment that has any",
        answer=_list_releases,
        result=tuple[Stored[ReleaseState], ...],
    ),
    Operation(
        method="GET",
        path="/v1/releases/{name}",
        summary="Releases of one virtual environment",
        answer=_get_releases,
        result=Stored[ReleaseState],
    ),
    Operation(
        method="POST",
        path="/v1/releases/{name}",
        summary="Request a release, or none; answers when it is pending or already active",
        answer=_release,
        body=ReleaseRequest,
        result=Stored[ReleaseState],
    ),
    Operation(
        method="POST",
        path="/v1/releases/{name}/rollback",
        summary="Restore an archived release, whole",
        answer=_roll_back,
        body=RollbackRequest,
        result=Stored[ReleaseState],
    ),
)
