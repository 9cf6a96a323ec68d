"""Waiting events of one deployment and virtual environment do not delay those of another."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from adapters.events.adapter import EventsAdapter
from broker.events import deliveries
from broker.events.stored_event import StoredEvent
from tests.adapters.events.world import EMIT, WEB, EventsWorld, forge
from tests.support.data_plane import open_data_plane
from tests.support.nats import NatsServer

FEW = msgspec.structs.replace(EMIT, emit_concurrency=2)


async def flood(world: EventsWorld, count: int) -> None:
    await asyncio.gather(*(world.emit(f"/flood-{number}") for number in range(count)))


async def test_an_event_behind_a_flood_of_another_environment_begins_beside_it(
    world: EventsWorld,
) -> None:
    await world.start()
    world.worker.gate.clear()
    await flood(world, 50)
    await world.emit("/victim", virtual_environment="team-b")

    async with world.delivering(FEW):
        begun = [await world.worker.next() for _ in range(3)]
        world.worker.gate.set()
        await world.wait_settled()

    assert [event.virtual_environment for event in begun].count("team-b") == 1
    assert len(world.worker.seen) == 51


async def test_a_flood_of_one_deployment_does_not_delay_another_one_on_the_same_pods(
    world: EventsWorld,
) -> None:
    await world.deploy("v2", "v1")
    await world.start()
    world.worker.gate.clear()
    await flood(world, 50)
    await world.emit("/victim", "v2")

    async with world.delivering(FEW):
        begun = [await world.worker.next() for _ in range(3)]
        world.worker.gate.set()
        await world.wait_settled()

    assert [event.deployment for event in begun].count("v2") == 1


async def test_an_event_behind_more_than_a_process_holds_is_found_and_all_are_handled_once(
    world: EventsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.events.retry.POSTPONED_S", 0.05)
    await world.start()
    world.worker.gate.clear()
    await flood(world, 30)
    await world.emit("/victim", virtual_environment="team-b")

    async with world.delivering(FEW, max_held=3):
        begun = [await world.worker.next() for _ in range(3)]
        world.worker.gate.set()
        await world.wait_settled()

    assert [event.virtual_environment for event in begun].count("team-b") == 1
    assert len({event.body for event in world.worker.seen}) == len(world.worker.seen) == 31
    # An event that was put back has had no attempt.
    assert {event.attempt for event in world.worker.seen} == {1}


async def test_events_that_wait_when_a_process_stops_begin_in_the_next_as_first_attempts(
    world: EventsWorld, own_nats_server: NatsServer
) -> None:
    await world.start()
    world.worker.gate.clear()
    await flood(world, 20)
    async with open_data_plane(own_nats_server.url, process_id="broker-2") as second:
        first = world.delivering(FEW)
        await first.__aenter__()
        await world.worker.next()
        await world.worker.next()
        leaving = asyncio.create_task(first.__aexit__(None, None, None))
        async with world.delivering(broker=second.broker):
            for _ in range(18):
                await world.worker.next()
            world.worker.gate.set()
            await leaving
            await world.wait_settled()

    assert len(world.worker.seen) == 20
    assert {event.attempt for event in world.worker.seen} == {1}


async def test_events_with_forged_contexts_share_one_lane(world: EventsWorld) -> None:
    adapter = EventsAdapter(world.broker, FEW)
    lanes = set()
    for number in range(3):
        await forge(world, WEB, context=f"forged-{number}")

    async def look(stored: StoredEvent) -> bytes:
        lanes.add(adapter._lane_of(stored.frame))
        return deliveries.ACK

    async with deliveries.open_deliveries(world.broker.bus, look, drain_s=1):
        await world.wait_settled()

    assert lanes == {""}
