"""What every adapter does, whatever it stands between."""

from __future__ import annotations

import asyncio

import pytest

from adapters.base import AdapterFactory
from broker.broker import Broker
from tests.adapters.world import SETTINGS, World, open_test_broker, stop_nats
from tests.support.nats import NatsServer


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

    async def test_it_can_be_dropped_without_having_served(
        self, factory: AdapterFactory, broker: Broker
    ) -> None:
        before = asyncio.all_tasks()

        factory(broker, SETTINGS)

        assert asyncio.all_tasks() == before

    async def test_it_stops_when_what_it_runs_beside_fails(
        self, factory: AdapterFactory, broker: Broker
    ) -> None:
        adapter = factory(broker, SETTINGS)

        with pytest.raises(RuntimeError, match="beside"):
            async with adapter:
                raise RuntimeError("beside it")

        assert not adapter.is_ready

    async def test_it_leaves_no_task_behind(self, factory: AdapterFactory, broker: Broker) -> None:
        before = asyncio.all_tasks()

        async with factory(broker, SETTINGS):
            pass

        assert asyncio.all_tasks() == before

    async def test_it_is_not_ready_without_nats_and_ready_when_nats_is_back(
        self, factory: AdapterFactory, broker: Broker, own_nats_server: NatsServer
    ) -> None:
        reconnected = asyncio.Event()

        async def note() -> None:
            reconnected.set()

        broker.bus.on_reconnect(note)
        async with factory(broker, SETTINGS) as adapter:
            await stop_nats(own_nats_server, broker.bus)
            was_ready = [adapter.is_ready]
            await asyncio.to_thread(own_nats_server.start)
            await reconnected.wait()
            await World(broker).virtual("a-change-that-is-followed")
            was_ready.append(adapter.is_ready)

        assert was_ready == [False, True]

    async def test_two_of_a_kind_serve_side_by_side(
        self, factory: AdapterFactory, broker: Broker, own_nats_server: NatsServer
    ) -> None:
        async with (
            open_test_broker(own_nats_server.url, "broker-2") as other,
            factory(broker, SETTINGS) as one,
            factory(other, SETTINGS) as two,
        ):
            assert one.is_ready
            assert two.is_ready
