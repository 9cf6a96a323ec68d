"""A data plane on a nats-server of its own, and a pod's connection."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from broker.dispatch.broker import Broker
from broker.nats import bus as buses
from broker.nats.bus import Bus
from fox import Kit
from routing.snapshot.route_binding import Target
from tests.broker.broker_requests import web
from tests.support.data_plane import DataPlane, open_data_plane
from tests.support.nats import NatsServer


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
