"""Deliveries in flight: their number, their ack wait, and failures in the middle of them."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import pytest
from nats.js import api

from broker.events import deliveries
from broker.events.outbox import STREAM, Outbox
from broker.events.stored_event import StoredEvent
from kubefox import subjects
from kubefox.errors import NatsUnavailable
from tests.adapters.events.world import EMIT, WORKER, EventsWorld
from tests.support.data_plane import open_data_plane
from tests.support.nats import NatsServer
from tests.support.world import SOON_S

PROGRESS = b"+WPI"
SHORT_ACK_WAIT_S = 3
"""An event is delivered again if the machine stands still for most of this time."""


async def test_a_slow_event_is_not_delivered_twice(
    world: EventsWorld,
) -> None:
    progress = asyncio.Semaphore(0)

    async def count(acknowledgement: bytes, _reply: str) -> None:
        if acknowledgement == PROGRESS:
            progress.release()

    await world.start()
    world.worker.gate.clear()
    await world.broker.bus.serve("$JS.ACK.>", count)

    async with world.delivering(ack_wait_s=SHORT_ACK_WAIT_S):
        await world.emit()
        await world.worker.next()
        # Without progress, the event would be delivered again before the last of these.
        for _ in range(deliveries.PROGRESS_PER_ACK_WAIT + 2):
            await progress.acquire()
        world.worker.gate.set()
        await world.wait_settled()

    assert len(world.worker.seen) == 1


async def test_closing_waits_for_deliveries_in_flight(world: EventsWorld) -> None:
    await world.start()
    world.worker.gate.clear()
    adapter = world.delivering()
    await adapter.__aenter__()
    await world.emit()
    await world.worker.next()

    leaving = asyncio.create_task(adapter.__aexit__(None, None, None))
    await asyncio.sleep(0)
    assert not leaving.done()
    world.worker.gate.set()
    await leaving

    # JetStream has the acknowledgement, and removes the event soon.
    await world.wait_settled()
    assert len(world.worker.seen) == 1


async def test_a_delivery_that_exceeds_the_drain_time_is_handed_back_at_once(
    world: EventsWorld,
) -> None:
    await world.start()
    world.worker.gate.clear()
    an_hour_s = 3_600
    short = msgspec.structs.replace(EMIT, drain_s=0.01)
    async with world.delivering(short, ack_wait_s=an_hour_s):
        await world.emit()
        await world.worker.next()

    async with world.delivering(ack_wait_s=an_hour_s):
        world.worker.gate.set()
        again = await world.worker.next()
        await world.wait_settled()

    assert again.attempt == 2


async def test_of_several_adapters_one_delivers_each_event(
    world: EventsWorld, own_nats_server: NatsServer
) -> None:
    await world.start()
    async with (
        open_data_plane(own_nats_server.url, process_id="broker-2") as second,
        world.delivering() as one,
        world.delivering(broker=second.broker) as other,
    ):
        await asyncio.gather(*(world.emit(f"/{number}") for number in range(100)))
        await world.wait_settled()
        counts = (one._delivered, other._delivered)

    assert len({event.body for event in world.worker.seen}) == 100
    assert len(world.worker.seen) == 100
    assert sum(counts) == 100


async def test_deliveries_in_flight_are_limited_and_the_rest_follows(world: EventsWorld) -> None:
    await world.start()
    await asyncio.gather(*(world.emit(f"/{number}") for number in range(50)))
    most, delivered = 0, 0

    async def deliver(_: StoredEvent) -> bytes:
        nonlocal most, delivered
        most, delivered = max(most, opened.in_flight), delivered + 1
        await asyncio.sleep(0)
        return deliveries.ACK

    bus = world.broker.bus
    limits = deliveries.DeliveryLimits(max_in_flight=4)
    async with deliveries.open_deliveries(bus, deliver, drain_s=1, limits=limits) as opened:
        await world.wait_settled()

    assert delivered == 50
    assert most <= 4


async def test_an_event_whose_delivery_raises_is_delivered_again(
    world: EventsWorld,
) -> None:
    await world.start()
    await world.emit()
    attempts = 0

    async def break_once(stored: StoredEvent) -> bytes:
        nonlocal attempts
        attempts = stored.deliveries
        if attempts == 1:
            raise RuntimeError("broken")
        return deliveries.ACK

    limits = deliveries.DeliveryLimits(ack_wait_s=0.05)
    bus = world.broker.bus
    async with deliveries.open_deliveries(bus, break_once, drain_s=1, limits=limits):
        await world.wait_settled()

    # A machine that stands still for the wait of 50 ms delivers it once more.
    assert attempts >= 2


async def test_a_restart_of_nats_loses_no_event_and_repeats_only_those_in_flight(
    world: EventsWorld, own_nats_server: NatsServer
) -> None:
    await world.start()
    async with world.delivering(ack_wait_s=SHORT_ACK_WAIT_S):
        await world.emit("/done")
        await world.worker.next()
        await world.wait_settled()
        world.worker.gate.clear()
        await world.emit("/in-hand")
        await world.worker.next()

        await asyncio.to_thread(own_nats_server.kill)
        with pytest.raises(NatsUnavailable):
            await Outbox(world.broker.bus).store(subjects.emitted(WORKER), b"")
        await asyncio.to_thread(own_nats_server.start)
        world.worker.gate.set()
        await world.world.wait_reconnected()
        await world.emit("/after")
        await world.wait_settled()

    counts = Counter(event.body for event in world.worker.seen)
    assert counts['{"key":"done"}'] == 1
    assert counts['{"key":"after"}'] == 1
    assert counts['{"key":"in-hand"}'] >= 2
    assert (await world.letters.counts()).dead == 0


async def test_a_removed_consumer_is_created_again(running: EventsWorld) -> None:
    jetstream = running.broker.bus.jetstream()
    async with asyncio.timeout(SOON_S):
        while not (await jetstream.consumer_info(STREAM, deliveries.CONSUMER)).num_waiting:
            await asyncio.sleep(0)
    await jetstream.delete_consumer(STREAM, deliveries.CONSUMER)

    await running.emit()

    await running.worker.next()


async def test_a_consumer_of_an_earlier_version_gets_the_present_limit(
    world: EventsWorld,
) -> None:
    jetstream = world.broker.bus.jetstream()
    config = api.ConsumerConfig(durable_name=deliveries.CONSUMER, max_ack_pending=10_000)
    await jetstream.add_consumer(STREAM, config)

    await deliveries.ensure_consumer(world.broker.bus)
    await deliveries.ensure_consumer(world.broker.bus)

    found = (await jetstream.consumer_info(STREAM, deliveries.CONSUMER)).config
    assert found.max_ack_pending == 1_000_000


async def test_an_event_during_its_delivery_counts_as_in_flight(world: EventsWorld) -> None:
    await world.start()
    world.worker.gate.clear()

    async with world.delivering():
        await world.emit()
        await world.worker.next()
        busy = world.broker.in_flight
        world.worker.gate.set()
        await world.wait_settled()

    assert busy == 1
    async with asyncio.timeout(SOON_S):
        while world.broker.in_flight:
            await asyncio.sleep(0)
