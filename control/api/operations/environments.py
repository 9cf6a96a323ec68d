"""Operations on environments, virtual environments and HTTP adapters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from control.api.messages import ForceQuery, NoQuery
from control.api.operation import ApiRequest, ApiServices, Operation
from control.environments import ObjectKind
from control.listed_kinds.environments import NamedQuery, VirtualEnvironmentsQuery
from control.listing.listing import Listing
from control.listing.page import EncodedPage, Page
from control.lists import Lists
from control.secret_masks import EnvironmentObject
from control.stored_record import StoredRecord
from kubefox.environment import Environment, HTTPAdapter, VirtualEnvironment

_MASKED = ", with masked secrets"
_VALUES_PUT = (
    "; a masked secret keeps its value; 422 if the change breaks an active release and force is "
    "not set"
)
_RELEASES_DELETE = "; force also deletes its releases"


def _operations_on(
    path: str,
    noun: str,
    kind: ObjectKind,
    stored: type[object],
    listing: Callable[[Lists], Listing[Any]],
) -> tuple[Operation, ...]:
    return (
        _list_operation(path, noun, kind, stored, listing),
        _get_operation(f"{path}/{{name}}", noun, kind, stored),
        *_writing_operations(f"{path}/{{name}}", noun, kind, stored),
    )


def _list_operation(
    path: str,
    noun: str,
    kind: ObjectKind,
    stored: type[object],
    listing: Callable[[Lists], Listing[Any]],
) -> Operation:
    async def list_page(services: ApiServices, request: ApiRequest) -> EncodedPage:
        return await listing(services.control.lists).page(request.query, request.caller.sees)

    return Operation(
        method="GET",
        path=path,
        summary=f"List {noun}s{_masked(kind)}",
        handle=list_page,
        query=VirtualEnvironmentsQuery if kind is VirtualEnvironment else NamedQuery,
        result=Page[stored],  # type: ignore[valid-type]
    )


def _get_operation(path: str, noun: str, kind: ObjectKind, stored: type[object]) -> Operation:
    async def get(services: ApiServices, request: ApiRequest) -> StoredRecord[EnvironmentObject]:
        return services.control.environments.get(kind, request.name)

    return Operation(
        method="GET",
        path=path,
        summary=f"Get one {noun}{_masked(kind)}",
        handle=get,
        result=stored,
    )


def _masked(kind: ObjectKind) -> str:
    return "" if kind is HTTPAdapter else _MASKED


def _writing_operations(
    path: str, noun: str, kind: ObjectKind, stored: type[object]
) -> tuple[Operation, ...]:
    has_values = kind is not HTTPAdapter
    has_releases = kind is VirtualEnvironment

    async def put(services: ApiServices, request: ApiRequest) -> StoredRecord[EnvironmentObject]:
        request.check_name(request.body.name)
        environments = services.control.environments
        return await environments.put(request.body, request.if_match, force=_is_forced(request))

    async def delete(services: ApiServices, request: ApiRequest) -> None:
        environments = services.control.environments
        await environments.delete(kind, request.name, request.if_match, force=_is_forced(request))
        await services.control.shares.try_remove_ended()

    return (
        Operation(
            method="PUT",
            path=path,
            summary=f"Create or replace one {noun}{_VALUES_PUT if has_values else ''}",
            handle=put,
            body=kind,
            query=ForceQuery if has_values else NoQuery,
            result=stored,
            has_if_match=True,
        ),
        Operation(
            method="DELETE",
            path=path,
            summary=f"Delete one {noun}; 409 while it is in use"
            f"{_RELEASES_DELETE if has_releases else ''}",
            handle=delete,
            query=ForceQuery if has_releases else NoQuery,
            has_if_match=True,
        ),
    )


def _is_forced(request: ApiRequest) -> bool:
    return isinstance(request.query, ForceQuery) and request.query.force


OPERATIONS: tuple[Operation, ...] = (
    *_operations_on(
        "/v1/environments",
        "environment",
        Environment,
        StoredRecord[Environment],
        lambda lists: lists.environments,
    ),
    *_operations_on(
        "/v1/virtual-environments",
        "virtual environment",
        VirtualEnvironment,
        StoredRecord[VirtualEnvironment],
        lambda lists: lists.virtual_environments,
    ),
    *_operations_on(
        "/v1/http-adapters",
        "HTTP adapter",
        HTTPAdapter,
        StoredRecord[HTTPAdapter],
        lambda lists: lists.http_adapters,
    ),
)
