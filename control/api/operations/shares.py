"""Operations on shares."""

from __future__ import annotations

from control.api.operation import ApiRequest, ApiServices, Operation
from control.listed_kinds.shares import SharesQuery
from control.listing.page import EncodedPage, Page
from kubefox.share import NewShare, Share, SignedShare


async def _list(services: ApiServices, request: ApiRequest) -> EncodedPage:
    return await services.control.lists.shares.page(request.query, request.caller.sees)


async def _get(services: ApiServices, request: ApiRequest) -> Share:
    return services.control.shares.get(request.name)


async def _create(services: ApiServices, request: ApiRequest) -> SignedShare:
    return await services.control.shares.create(request.body)


async def _revoke(services: ApiServices, request: ApiRequest) -> None:
    await services.control.shares.revoke(request.name)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/shares",
        summary="List the shares, without their tokens",
        handle=_list,
        query=SharesQuery,
        result=Page[Share],
    ),
    Operation(
        method="POST",
        path="/v1/shares",
        summary="Make a share, and return its token, which is shown only now",
        handle=_create,
        body=NewShare,
        result=SignedShare,
    ),
    Operation(
        method="GET",
        path="/v1/shares/{name}",
        summary="Get one share, without its token",
        handle=_get,
        result=Share,
    ),
    Operation(
        method="DELETE",
        path="/v1/shares/{name}",
        summary="Revoke a share",
        handle=_revoke,
    ),
)
