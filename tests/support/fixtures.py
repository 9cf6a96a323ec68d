"""Fixtures on a separate nats-server: a connection, the record store, the control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from broker.nats.bus import Bus
from broker.storage.store import Store, open_store
from tests.support.connecting import connect
from tests.support.control_plane import Plane, open_plane
from tests.support.keys import KEYS
from tests.support.nats import NatsServer


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with connect(own_nats_server.url) as bus:
        yield bus


@pytest.fixture
async def store(bus: Bus) -> AsyncIterator[Store]:
    async with open_store(bus, KEYS, creates_keys=True) as store:
        yield store


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[Plane]:
    async with open_plane(own_nats_server.url) as plane:
        yield plane
