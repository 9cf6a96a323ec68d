"""Environments, virtual environments and HTTP adapters."""

from __future__ import annotations

from broker.api.messages import DeleteQuery
from broker.api.operation import Call, Operation, Parts
from broker.control.environments import Kind
from broker.control.secrets import EnvironmentObject
from broker.control.writes import Stored
from model.environment import Environment, HTTPAdapter, VirtualEnvironment


def _of_kind(path: str, noun: str, kind: Kind, stored: type[object]) -> tuple[Operation, ...]:
    async def every(parts: Parts, _call: Call) -> tuple[Stored[EnvironmentObject], ...]:
        return parts.control.environments.all(kind)

    async def one(parts: Parts, call: Call) -> Stored[EnvironmentObject]:
        return parts.control.environments.get(kind, call.name)

    async def put(parts: Parts, call: Call) -> Stored[EnvironmentObject]:
        call.check_name(call.body.name)
        return await parts.control.environments.put(call.body, call.if_match)

    async def delete(parts: Parts, call: Call) -> None:
        environments = parts.control.environments
        await environments.delete(kind, call.name, call.if_match, force=call.query.force)

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
            summary=f"Create or replace one {noun}; a masked secret keeps its value",
            answer=put,
            body=kind,
            result=stored,
            has_if_match=True,
        ),
        Operation(
            method="DELETE",
            path=named,
            summary=f"Delete one {noun} that is not in use",
            answer=delete,
            query=DeleteQuery,
            has_if_match=True,
        ),
    )


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
