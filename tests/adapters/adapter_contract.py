"""The contract that every adapter fulfils."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from adapters.base import AdapterFactory
from broker.dispatch.broker import Broker
from broker.nats.bus import Bus
from kubefox.errors import NatsUnavailable
from tests.support.data_plane import SETTINGS, open_data_plane
from tests.support.nats import NatsServer
from tests.support.world import World


async def stop_nats(server: NatsServer, bus: Bus) -> None:
    """Stop the server, and return when the bus has noticed."""

    async def keep_silent(payload: bytes, reply: str) -> None:
        pass

    await bus.serve("silence", keep_silent)
    request = asyncio.create_task(bus.request("silence", b"", timeout_s=60))
    await asyncio.to_thread(server.stop)
    with contextlib.suppress(NatsUnavailable):
        await request


class AdapterContract:
    """Subclasses have a fixture ``factory``."""

    async def test_it_is_ready_exactly_while_it_serves(
        self, factory: AdapterFactory, broker: Broker
    ) -> None:
        adapter = factory(broker, SETTINGS)
        was_ready = [adapter.is_ready]

        async with adapter as entered:
            was_ready.append(entered.is_ready)
        was_ready.append(adapter.is_ready)

        assert entered is adapter
        assert was_ready == [False, True, False]

    async def test_an_adapter_that_is_not_entered_has_no_task(
        self, factory: AdapterFactory, broker: Broker
    ) -> None:
        before = asyncio.all_tasks()

        factory(broker, SETTINGS)

        assert asyncio.all_tasks() == before

    async def test_it_stops_when_its_context_ends_with_an_error(
        self, factory: AdapterFactory, broker: Broker
    ) -> None:
        adapter = factory(broker, SETTINGS)

        with pytest.raises(RuntimeError, match="inside"):
            async with adapter:
                raise RuntimeError("inside")

        assert not adapter.is_ready

    async def test_it_leaves_no_task(self, factory: AdapterFactory, broker: Broker) -> None:
        before = asyncio.all_tasks()

        async with factory(broker, SETTINGS):
            pass

        # Tasks that nats-py has cancelled end in a later turn of the loop.
        while asyncio.all_tasks() != before:
            await asyncio.sleep(0)

    async def test_it_is_not_ready_without_nats_and_ready_when_nats_is_back(
        self, factory: AdapterFactory, world: World, own_nats_server: NatsServer
    ) -> None:
        broker = world.broker
        reconnected = asyncio.Event()

        async def note() -> None:
            reconnected.set()

        broker.bus.on_reconnect(note)
        async with factory(broker, SETTINGS) as adapter:
            await stop_nats(own_nats_server, broker.bus)
            was_ready = [adapter.is_ready]
            await asyncio.to_thread(own_nats_server.start)
            await reconnected.wait()
            await world.plane.virtual_environment("a-change-that-is-followed")
            was_ready.append(adapter.is_ready)

        assert was_ready == [False, True]

    async def test_two_of_a_kind_serve_side_by_side(
        self, factory: AdapterFactory, broker: Broker, own_nats_server: NatsServer
    ) -> None:
        async with (
            open_data_plane(own_nats_server.url, process_id="broker-2") as other,
            factory(broker, SETTINGS) as one,
            factory(other.broker, SETTINGS) as two,
        ):
            assert one.is_ready
            assert two.is_ready
