"""What lies on a nats-server of its own: a connection, the records, a whole control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from broker import bus as buses
from broker.bus import Bus
from broker.store import Store, open_store
from tests.support.control_plane import Plane, open_plane
from tests.support.nats import NatsServer


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="one") as bus:
        yield bus


@pytest.fixture
async def store(bus: Bus) -> AsyncIterator[Store]:
    async with open_store(bus) as store:
        yield store


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[Plane]:
    async with open_plane(own_nats_server.url) as plane:
        yield plane
