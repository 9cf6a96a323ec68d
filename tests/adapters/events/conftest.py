"""An app that emits events, with and without an adapter that delivers them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.adapters.events.world import EventsWorld, open_events_world
from tests.support.nats import NatsServer


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[EventsWorld]:
    async with open_events_world(own_nats_server.url) as world:
        yield world


@pytest.fixture
async def running(world: EventsWorld) -> AsyncIterator[EventsWorld]:
    """A world with running pods and an adapter that delivers events."""
    await world.start()
    async with world.delivering():
        yield world
