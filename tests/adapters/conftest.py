"""A broker on a nats-server of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from broker.broker import Broker
from tests.adapters.world import World, open_test_broker
from tests.support.nats import NatsServer


@pytest.fixture
async def broker(own_nats_server: NatsServer) -> AsyncIterator[Broker]:
    async with open_test_broker(own_nats_server.url, "broker-1") as broker:
        yield broker


@pytest.fixture
def world(broker: Broker) -> World:
    return World(broker)
