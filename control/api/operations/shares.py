"""Operations on shares."""

from __future__ import annotations

from msgspec.structs import replace

from control.api.operation import ApiRequest, ApiServices, Operation
from control.listed_kinds.shares import SharesQuery
from control.listener_policies import listener_policies, share_warnings
from control.listing.page import EncodedPage, Page
from kubefox.errors import NatsUnavailable
from kubefox.share import NewShare, Share, SignedShare


async def _list(services: ApiServices, request: ApiRequest) -> EncodedPage:
    return await services.control.lists.shares.page(request.query, request.caller.sees)


async def _get(services: ApiServices, request: ApiRequest) -> Share:
    return services.control.shares.get(request.name)


async def _create(services: ApiServices, request: ApiRequest) -> SignedShare:
    made = await services.control.shares.create(request.body)
    try:
        policies = await listener_policies(services.collector)
    except NatsUnavailable:
        policies = []  # The share is made all the same.
    return replace(made, warnings=tuple(share_warnings(policies)))


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
