"""Operations on the platform itself: health, readiness, version and status."""

from __future__ import annotations

from control.api.messages import Health, PlatformVersion
from control.api.operation import ApiRequest, ApiServices, Operation
from control.status import platform_status
from kubefox.errors import Unavailable
from kubefox.status import CheckState, PlatformStatus


async def _alive(_services: ApiServices, _request: ApiRequest) -> Health:
    return Health(status="ok")


async def _ready(services: ApiServices, _request: ApiRequest) -> Health:
    states = {name: is_ready() for name, is_ready in services.readiness.items()}
    if "nats" in states and "nats" in services.checks:
        # The connection to a server that hangs looks well for some seconds.
        states["nats"] &= (await services.checks["nats"]()).state is CheckState.OK
    missing = ", ".join(name for name, ready in states.items() if not ready)
    if missing:
        raise Unavailable(f"not ready: {missing}")
    return Health(status="ok", parts=states)


async def _version(services: ApiServices, _request: ApiRequest) -> PlatformVersion:
    return PlatformVersion(version=services.version)


async def _status(services: ApiServices, _request: ApiRequest) -> PlatformStatus:
    return await platform_status(services.version, services.checks)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/healthz",
        summary="Check that the process is running",
        handle=_alive,
        result=Health,
    ),
    Operation(
        method="GET",
        path="/readyz",
        summary="Check that every part is ready; 503 names the parts that are not",
        handle=_ready,
        result=Health,
    ),
    Operation(
        method="GET",
        path="/v1/version",
        summary="Get the version of the platform",
        handle=_version,
        result=PlatformVersion,
    ),
    Operation(
        method="GET",
        path="/v1/status",
        summary="Check every part of the platform, and its protections",
        handle=_status,
        result=PlatformStatus,
    ),
)
