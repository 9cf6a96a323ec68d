"""An HTTP adapter in front of components that return what they were sent, or stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from adapters.http.limits import HttpLimits
from adapters.http.server import HttpAdapter
from fox import Context, Kit, Response
from tests.adapters.http.echo import LIMIT_BYTES
from tests.adapters.http.limits import DEFAULTS
from tests.adapters.http.streaming import StreamingWorld, open_streaming_world
from tests.support.data_plane import SETTINGS, DataPlane
from tests.support.nats import NatsServer
from tests.support.world import World, open_world


@pytest.fixture
def limits() -> HttpLimits:
    """The adapter's limits; ``with_limits`` replaces them."""
    return DEFAULTS


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[World]:
    settings = msgspec.structs.replace(
        SETTINGS, body_limit_bytes=LIMIT_BYTES, body_memory_bytes=LIMIT_BYTES
    )
    async with open_world(own_nats_server.url, settings) as world:
        yield world


@pytest.fixture
def plane(world: World) -> DataPlane:
    return world.plane


@pytest.fixture
async def adapter(world: World, limits: HttpLimits) -> HttpAdapter:
    limits = msgspec.structs.replace(
        limits, body_limit_bytes=LIMIT_BYTES, body_memory_bytes=LIMIT_BYTES
    )
    return await world.enter_adapter(HttpAdapter(world.broker, world.settings, limits))


@pytest.fixture
async def echo(world: World, adapter: HttpAdapter) -> int:
    """The adapter's port; a released component responds with the request that it got."""
    kit = Kit()

    @kit.route("All()")
    async def respond(ctx: Context) -> Any:
        event = ctx.event
        if ctx.path == "/fail":
            raise ValueError(ctx.path)
        if ctx.path == "/empty":
            return Response(status=int(ctx.query["status"]), headers={"x": "y"})
        return {
            "method": event.method,
            "path": event.path,
            "query": event.query,
            "headers": [list(pair) for pair in event.headers],
            "body": ctx.body.decode("latin-1"),
        }

    await world.serve("v1", {"web": kit}, released_in="team-a")
    return adapter.port


@pytest.fixture
async def streaming(
    own_nats_server: NatsServer, limits: HttpLimits
) -> AsyncIterator[StreamingWorld]:
    async with open_streaming_world(own_nats_server.url, limits) as world:
        yield world
        await world.wait_idle()
