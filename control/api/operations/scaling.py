"""Operations on the replicas of component versions."""

from __future__ import annotations

from control.api.operation import ApiRequest, ApiServices, Operation
from control.listed_kinds.versions import VersionsQuery
from control.listing.page import EncodedPage, Page
from kubefox.scaling import ScaleChange, ScaleOverride, VersionScale


async def _list_scales(services: ApiServices, request: ApiRequest) -> EncodedPage:
    return await services.control.lists.scales.page(request.query, request.caller.sees)


async def _change_scale(services: ApiServices, request: ApiRequest) -> ScaleOverride | None:
    return await services.control.scaling.change(request.body)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/scales",
        summary="List the limits of replicas and the pods of each component version",
        handle=_list_scales,
        query=VersionsQuery,
        result=Page[VersionScale],
    ),
    Operation(
        method="POST",
        path="/v1/scales",
        summary="Change an override of limits of replicas, or remove it: 204",
        handle=_change_scale,
        body=ScaleChange,
        result=ScaleOverride,
        may_be_empty=True,
    ),
)
