"""An app that emits on a nats-server of its own; delivered or not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.adapters.emit.world import EmitWorld, open_emit_world
from tests.support.nats import NatsServer


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[EmitWorld]:
    async with open_emit_world(own_nats_server.url) as world:
        yield world


@pytest.fixture
async def running(world: EmitWorld) -> AsyncIterator[EmitWorld]:
    """A world whose pods run and whose events are delivered."""
    await world.start()
    async with world.delivering():
        yield world
