"""Deliveries under way: how many, held how long, and not lost whatever breaks."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import pytest

from broker import deliveries
from broker.outbox import STREAM, Outbox
from model import subjects
from model.errors import NatsUnavailable
from tests.adapters.emit.world import EMIT, SOON_S, WORKER, EmitWorld
from tests.adapters.world import open_test_broker
from tests.support.nats import NatsServer


async def test_a_slow_event_is_held_as_long_as_it_takes(
    world: EmitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_s = 0.2
    monkeypatch.setattr(deliveries, "_HOLD_S", hold_s)
    await world.start()
    world.worker.gate.clear()

    async with world.delivering():
        await world.emit()
        await world.worker.next()
        await asyncio.sleep(4 * hold_s)  # what is not held comes again in this time
        world.worker.gate.set()
        await world.wait_settled()

    assert len(world.worker.seen) == 1


async def test_leaving_waits_for_what_is_in_hand(world: EmitWorld) -> None:
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

    # JetStream has heard that it is settled, and forgets it in a moment.
    await world.wait_settled()
    assert len(world.worker.seen) == 1


async def test_what_takes_too_long_to_leave_is_handed_back_at_once(world: EmitWorld) -> None:
    await world.start()
    world.worker.gate.clear()
    async with world.delivering(msgspec.structs.replace(EMIT, drain_s=0.01)):
        await world.emit()
        await world.worker.next()

    async with world.delivering(), asyncio.timeout(deliveries._HOLD_S / 2):
        world.worker.gate.set()
        again = await world.worker.next()
        await world.wait_settled()

    assert again.attempt == 2


async def test_of_several_adapters_one_delivers_each_event(
    world: EmitWorld, own_nats_server: NatsServer
) -> None:
    await world.start()
    async with (
        open_test_broker(own_nats_server.url, "broker-2") as second,
        world.delivering() as one,
        world.delivering(broker=second) as other,
    ):
        await asyncio.gather(*(world.emit(f"/{number}") for number in range(100)))
        await world.wait_settled()
        counts = (one._delivered, other._delivered)

    assert len({each.body for each in world.worker.seen}) == 100
    assert len(world.worker.seen) == 100
    assert sum(counts) == 100


async def test_no_more_is_in_hand_than_may_be_and_the_rest_comes_after(world: EmitWorld) -> None:
    await world.start()
    await asyncio.gather(*(world.emit(f"/{number}") for number in range(50)))
    most, delivered = 0, 0

    async def deliver(_: deliveries.StoredEvent) -> bytes:
        nonlocal most, delivered
        most, delivered = max(most, opened.in_hand), delivered + 1
        await asyncio.sleep(0)
        return deliveries.DONE

    bus = world.broker.bus
    async with deliveries.open_deliveries(bus, deliver, drain_s=1, max_in_hand=4) as opened:
        await world.wait_settled()

    assert delivered == 50
    assert most <= 4


async def test_an_event_whose_delivery_breaks_is_not_lost(
    world: EmitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_HOLD_S", 0.05)
    await world.start()
    await world.emit()
    attempts = 0

    async def break_once(stored: deliveries.StoredEvent) -> bytes:
        nonlocal attempts
        attempts = stored.deliveries
        if attempts == 1:
            raise RuntimeError("broken")
        return deliveries.DONE

    async with deliveries.open_deliveries(world.broker.bus, break_once, drain_s=1):
        await world.wait_settled()

    assert attempts == 2


async def test_a_restart_of_nats_loses_nothing_and_repeats_only_what_is_in_hand(
    world: EmitWorld, own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_HOLD_S", 1.0)
    await world.start()
    async with world.delivering():
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
        await world.wait_reconnected()
        await world.emit("/after")
        await world.wait_settled()

    counts = Counter(each.body for each in world.worker.seen)
    assert counts['{"key":"done"}'] == 1
    assert counts['{"key":"after"}'] == 1
    assert counts['{"key":"in-hand"}'] == 2
    assert (await world.letters.counts()).dead == 0


async def test_a_consumer_that_was_removed_is_made_again(running: EmitWorld) -> None:
    jetstream = running.broker.bus.jetstream()
    async with asyncio.timeout(SOON_S):
        while not (await jetstream.consumer_info(STREAM, deliveries.CONSUMER)).num_waiting:
            await asyncio.sleep(0)
    await jetstream.delete_consumer(STREAM, deliveries.CONSUMER)

    await running.emit()

    await running.worker.next()


async def test_an_event_that_is_being_delivered_counts_as_in_flight(world: EmitWorld) -> None:
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
