"""Operations on the platform's keys. No answer contains a key."""

from __future__ import annotations

from control.api.messages import KeyRotationRequest
from control.api.operation import ApiRequest, ApiServices, Operation
from kubefox.key_ring import KeysStatus, Resealed


async def _show(services: ApiServices, _request: ApiRequest) -> KeysStatus:
    return await services.control.keys.status()


async def _rotate(services: ApiServices, request: ApiRequest) -> KeysStatus:
    wanted: KeyRotationRequest = request.body
    return await services.control.keys.rotate(wanted.kind, request.if_match)


async def _drop(services: ApiServices, request: ApiRequest) -> KeysStatus:
    return await services.control.keys.drop_replaced(request.if_match)


async def _reseal(services: ApiServices, _request: ApiRequest) -> Resealed:
    return await services.control.keys.reseal()


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/keys",
        summary="Show the platform's keys, without their content",
        handle=_show,
        result=KeysStatus,
    ),
    Operation(
        method="POST",
        path="/v1/keys/rotate",
        summary="Replace a key, and answer once all processes know the new one and it is used",
        handle=_rotate,
        body=KeyRotationRequest,
        result=KeysStatus,
        has_if_match=True,
    ),
    Operation(
        method="POST",
        path="/v1/keys/drop-replaced",
        summary="Remove replaced sealing keys: stored events that carry their tokens fail then",
        handle=_drop,
        result=KeysStatus,
        has_if_match=True,
    ),
    Operation(
        method="POST",
        path="/v1/keys/reseal",
        summary="Encrypt records with the current data key, at most 2,000 revisions in one request",
        handle=_reseal,
        result=Resealed,
    ),
)
