"""What lies on a nats-server of its own: a connection, the records, control and data planes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from broker import bus as buses
from broker.broker import Broker
from broker.bus import Bus
from broker.store import Store, open_store
from fox import Kit
from routing.bindings import Target
from tests.broker.asking import web
from tests.support.control_plane import Plane, open_plane
from tests.support.data_plane import DataPlane, open_data_plane
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


@pytest.fixture
async def data_plane(own_nats_server: NatsServer) -> AsyncIterator[DataPlane]:
    async with open_data_plane(own_nats_server.url) as data_plane:
        await data_plane.virtual_environment("team-a", colour="red")
        await data_plane.deploy("v1", {"web": web(), "api": Kit()})
        yield data_plane


@pytest.fixture
def broker(data_plane: DataPlane) -> Broker:
    return data_plane.broker


@pytest.fixture
def target(data_plane: DataPlane) -> Target:
    return data_plane.target("/", "v1", "team-a")


@pytest.fixture
async def pod(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="pod") as pod:
        yield pod
