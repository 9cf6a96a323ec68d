"""Whether the platform is there, and ready."""

from __future__ import annotations

from broker.api.messages import Health, Version
from broker.api.operation import Call, Operation, Parts
from model.errors import Unavailable


async def _alive(_parts: Parts, _call: Call) -> Health:
    return Health(status="ok")


async def _ready(parts: Parts, _call: Call) -> Health:
    states = {name: is_ready() for name, is_ready in parts.readiness.items()}
    missing = ", ".join(name for name, ready in states.items() if not ready)
    if missing:
        raise Unavailable(f"not ready: {missing}")
    return Health(status="ok", parts=states)


async def _version(parts: Parts, _call: Call) -> Version:
    return Version(version=parts.version)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/healthz",
        summary="Whether the process is alive",
        answer=_alive,
        result=Health,
    ),
    Operation(
        method="GET",
        path="/readyz",
        summary="Whether every part is ready; 503 names those that are not",
        answer=_ready,
        result=Health,
    ),
    Operation(
        method="GET",
        path="/v1/version",
        summary="Version of the platform",
        answer=_version,
        result=Version,
    ),
)
