"""An adapter on a data plane of its own: components that tell what they were sent, or stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from adapters.http.server import HttpAdapter
from fox import Context, Kit, Response
from tests.adapters.http.echo import LIMIT_BYTES
from tests.adapters.http.streaming import World, open_world
from tests.support.data_plane import SETTINGS, DataPlane, open_data_plane
from tests.support.nats import NatsServer


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[DataPlane]:
    settings = msgspec.structs.replace(
        SETTINGS, body_limit_bytes=LIMIT_BYTES, body_memory_bytes=LIMIT_BYTES
    )
    async with open_data_plane(own_nats_server.url, settings) as plane:
        await plane.virtual_environment("team-a")
        yield plane


@pytest.fixture
async def adapter(plane: DataPlane) -> AsyncIterator[HttpAdapter]:
    async with HttpAdapter(plane.broker, plane.broker.settings) as adapter:
        yield adapter


@pytest.fixture
async def echo(plane: DataPlane, adapter: HttpAdapter) -> int:
    """The port, with a released component behind it that tells what it was sent."""
    kit = Kit()

    @kit.route("All()")
    async def tell(ctx: Context) -> Any:
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

    await plane.deploy("v1", {"web": kit})
    await plane.start("web", kit)
    await plane.release("team-a", "v1")
    return adapter.port


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[World]:
    async with open_world(own_nats_server.url) as world:
        yield world
        await world.wait_idle()
