"""Environments, virtual environments and HTTP adapters."""

from __future__ import annotations

from broker.api.messages import ForceQuery, NoQuery
from broker.api.operation import Call, Operation, Parts
from broker.control.environments import Kind
from broker.control.secrets import EnvironmentObject
from broker.control.writes import Stored
from model.environment import Environment, HTTPAdapter, VirtualEnvironment

_PUT = "Create or replace one {}; a masked secret keeps its value"
_FORCED_PUT = f"{_PUT}; 422 if it takes what is released off plain URLs, unless by force"
_DELETE = "Delete one {} that is not in use"
_FORCED_DELETE = f"{_DELETE}, or by force together with its releases"


def _of_kind(path: str, noun: str, kind: Kind, stored: type[object]) -> tuple[Operation, ...]:
    has_values = kind is not HTTPAdapter
    has_releases = kind is VirtualEnvironment

    async def every(parts: Parts, _call: Call) -> tuple[Stored[EnvironmentObject], ...]:
        return parts.control.environments.all(kind)

    async def one(parts: Parts, call: Call) -> Stored[EnvironmentObject]:
        return parts.control.environments.get(kind, call.name)

    async def put(parts: Parts, call: Call) -> Stored[EnvironmentObject]:
        call.check_name(call.body.name)
        environments = parts.control.environments
        return await environments.put(call.body, call.if_match, force=_is_forced(call))

    async def delete(parts: Parts, call: Call) -> None:
        environments = parts.control.environments
        await environments.delete(kind, call.name, call.if_match, force=_is_forced(call))

    named = f"{path}/{{name}}"
    return (
        Operation(
            method="GET",
            path=path,
            summary=f"List every {noun}; secrets are masked",
            answer=every,
            result=tuple[stored, ...],  # type: ignore[valid-type]
        ),
        Operation(
            method="GET",
            path=named,
            summary=f"One {noun}; secrets are masked",
            answer=one,
            result=stored,
        ),
        Operation(
            method="PUT",
            path=named,
            summary=(_FORCED_PUT if has_values else _PUT).format(noun),
            answer=put,
            body=kind,
            query=ForceQuery if has_values else NoQuery,
            result=stored,
            has_if_match=True,
        ),
        Operation(
            method="DELETE",
            path=named,
            summary=(_FORCED_DELETE if has_releases else _DELETE).format(noun),
            answer=delete,
            query=ForceQuery if has_releases else NoQuery,
            has_if_match=True,
        ),
    )


def _is_forced(call: Call) -> bool:
    return isinstance(call.query, ForceQuery) and call.query.force


OPERATIONS: tuple[Operation, ...] = (
    *_of_kind("/v1/environments", "environment", Environment, Stored[Environment]),
    *_of_kind(
        "/v1/virtual-environments",
        "virtual environment",
        VirtualEnvironment,
        Stored[VirtualEnvironment],
    ),
    *_of_kind("/v1/http-adapters", "HTTP adapter", HTTPAdapter, Stored[HTTPAdapter]),
)
