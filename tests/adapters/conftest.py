"""A world without deployments, on a nats-server of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from broker.dispatch.broker import Broker
from tests.support.nats import NatsServer
from tests.support.world import World, open_world


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[World]:
    async with open_world(own_nats_server.url, environments={}) as world:
        yield world


@pytest.fixture
def broker(world: World) -> Broker:
    return world.broker
