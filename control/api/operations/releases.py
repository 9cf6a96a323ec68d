"""Operations on releases."""

from __future__ import annotations

from control.api.messages import (
    AbortRequest,
    Followed,
    FollowersQuery,
    ReleaseRequest,
    RollbackRequest,
)
from control.api.operation import ApiRequest, ApiServices, Operation
from control.listed_kinds.releases import ReleasesQuery
from control.listing.page import EncodedPage, Page
from control.stored_record import StoredRecord
from kubefox.errors import InvalidRequest
from kubefox.release import ReleaseState


async def _list_releases(services: ApiServices, request: ApiRequest) -> EncodedPage:
    return await services.control.lists.releases.page(request.query, request.caller.sees)


async def _get_releases(services: ApiServices, request: ApiRequest) -> StoredRecord[ReleaseState]:
    return services.control.releases.get(request.name)


async def _release(services: ApiServices, request: ApiRequest) -> StoredRecord[ReleaseState]:
    wanted: ReleaseRequest = request.body
    if bool(wanted.selector) == (wanted.apps is not None):
        raise InvalidRequest("the body must have either a selector or apps")
    if wanted.apps is not None:
        return await services.control.releases.request_apps(request.name, wanted.apps)
    return await services.control.releases.request(request.name, wanted.selector, wanted.app)


async def _roll_back(services: ApiServices, request: ApiRequest) -> StoredRecord[ReleaseState]:
    wanted: RollbackRequest = request.body
    return await services.control.releases.rollback(request.name, wanted.release)


async def _abort(services: ApiServices, request: ApiRequest) -> StoredRecord[ReleaseState]:
    return await services.control.releases.abort(request.name)


async def _wait_followed(services: ApiServices, request: ApiRequest) -> Followed:
    query: FollowersQuery = request.query
    return Followed(behind=await services.control.find_behind(query.revision))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/releases",
        summary="List the releases of all virtual environments that have any",
        handle=_list_releases,
        query=ReleasesQuery,
        result=Page[StoredRecord[ReleaseState]],
    ),
    Operation(
        method="GET",
        path="/v1/releases/{name}",
        summary="Get the releases of one virtual environment",
        handle=_get_releases,
        result=StoredRecord[ReleaseState],
    ),
    Operation(
        method="POST",
        path="/v1/releases/{name}",
        summary="Request or withdraw a release; the answer shows whether it is pending or active",
        handle=_release,
        body=ReleaseRequest,
        result=StoredRecord[ReleaseState],
    ),
    Operation(
        method="POST",
        path="/v1/releases/{name}/rollback",
        summary="Drop the pending release, or request an archived one again, with its manifest",
        handle=_roll_back,
        body=RollbackRequest,
        result=StoredRecord[ReleaseState],
    ),
    Operation(
        method="POST",
        path="/v1/releases/{name}/abort",
        summary="Archive the pending release, the active one stays; 404 if none is pending",
        handle=_abort,
        body=AbortRequest,
        result=StoredRecord[ReleaseState],
    ),
    Operation(
        method="GET",
        path="/v1/followers",
        summary="Wait until all processes route requests by a revision; the answer names others",
        handle=_wait_followed,
        query=FollowersQuery,
        result=Followed,
    ),
)
