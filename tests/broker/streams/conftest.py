"""Two processes on one nats-server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from broker.nats import bus as buses
from broker.nats.bus import Bus
from tests.support.nats import NatsServer


@pytest.fixture
def one(bus: Bus) -> Bus:
    return bus


@pytest.fixture
async def two(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="two") as bus:
        yield bus
