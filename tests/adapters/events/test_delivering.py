"""Emitted events on a real NATS: delivered in their context, at least once, or refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker.events.outbox import MAX_EVENT_BYTES, STREAM, Outbox
from fox import Context, Kit, Response
from kubefox import subjects
from kubefox.context import source_name
from kubefox.errors import (
    BodyTooLarge,
    ComponentFailed,
    NatsUnavailable,
    NotDeclared,
    Overloaded,
    RevisionConflict,
)
from kubefox.event import EventType
from kubefox.stream import INLINE_BYTES
from tests.adapters.events.world import EMIT, WEB, WORKER, EventsWorld
from tests.support.data_plane import digest, open_data_plane
from tests.support.nats import NatsServer
from tests.support.world import SOON_S


async def test_an_event_is_handled_in_the_context_in_which_it_was_emitted(
    running: EventsWorld,
) -> None:
    assert await running.emit("/first")

    handled = await running.worker.next()

    assert (handled.deployment, handled.virtual_environment) == ("v1", "team-a")
    assert (handled.type, handled.source, handled.attempt) == (EventType.COMPONENT, WEB, 1)
    assert (handled.path, handled.body) == ("/jobs", '{"key":"first"}')
    await running.wait_settled()
    assert len(running.worker.seen) == 1


async def test_an_event_waits_for_its_pod_and_for_an_adapter(world: EventsWorld) -> None:
    await world.plane.start("web", world.web)
    assert await world.emit()
    assert (await world.letters.counts()).waiting == 1

    async with world.delivering(msgspec.structs.replace(EMIT, emit_attempts=1)) as adapter:
        async with asyncio.timeout(SOON_S):
            while adapter.waits < 5:
                await asyncio.sleep(0.01)
        await world.plane.start("worker", world.worker.kit)
        handled = await world.worker.next()
        await world.wait_settled()

    assert handled.attempt == 1


async def test_events_stay_in_their_deployment_and_virtual_environment(world: EventsWorld) -> None:
    other = type(world.worker)()
    await world.deploy("v2", "v2", worker=other.kit)
    await world.start()
    await world.plane.start("web", world.web, "v2")
    await world.plane.start("worker", other.kit, "v2")
    places = [(name, team) for name in ("v1", "v2") for team in ("team-a", "team-b")]

    async with world.delivering():
        await asyncio.gather(*(world.emit("/same-key", *place) for place in places * 5))
        await world.wait_settled()

    for worker, name in ((world.worker, "v1"), (other, "v2")):
        assert sorted((event.deployment, event.virtual_environment) for event in worker.seen) == [
            (name, "team-a"),
            (name, "team-b"),
        ]
        for event in worker.seen:
            assert event.source == source_name("web", digest(name))
            assert event.colour == f"colour of {event.virtual_environment}"


async def test_an_event_keeps_the_variables_of_its_emission(world: EventsWorld) -> None:
    await world.start()
    await world.emit()
    await world.plane.virtual_environment("team-a", colour="new")

    async with world.delivering():
        handled = await world.worker.next()

    assert handled.colour == "colour of team-a"


async def test_an_event_stays_emitted_when_its_emitter_fails(running: EventsWorld) -> None:
    with pytest.raises(ComponentFailed):
        await running.emit("/fail")

    assert (await running.worker.next()).body == '{"key":"fail"}'


async def test_a_failed_event_is_delivered_again_with_its_attempt_number(
    running: EventsWorld,
) -> None:
    running.worker.answers = [ValueError("no"), RevisionConflict("another write was first")]

    await running.emit()
    await running.wait_settled()

    assert [event.attempt for event in running.worker.seen] == [1, 2, 3]
    assert (await running.letters.counts()).dead == 0


async def test_a_failure_while_the_response_is_streamed_fails_the_attempt(
    running: EventsWorld, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[str] = []

    async def breaks_off() -> AsyncIterator[str]:
        yield "a"
        raise ValueError("no")

    async def goes_well() -> AsyncIterator[str]:
        yield "a"
        made.append("all")

    running.worker.answers = [Response.stream(breaks_off()), Response.stream(goes_well())]

    await running.emit()
    await running.wait_settled()

    assert [event.attempt for event in running.worker.seen] == [1, 2]
    assert made == ["all"]
    assert caplog.text.count("was cut") == 1
    assert not any(len(pod.streams) for pod in running.world.pods)


async def test_a_streamed_response_that_exceeds_the_deadline_fails_the_attempt(
    world: EventsWorld,
) -> None:
    async def endless() -> AsyncIterator[str]:
        while True:
            yield "a"

    await world.start()
    world.worker.answers = [Response.stream(endless())]

    async with world.delivering(msgspec.structs.replace(EMIT, event_ttl_s=1.0)):
        await world.emit()
        await world.wait_settled()

    assert [event.attempt for event in world.worker.seen] == [1, 2]


async def test_a_large_response_counts_as_handled(running: EventsWorld) -> None:
    running.worker.answers = [bytes(2 * INLINE_BYTES)]

    await running.emit()
    await running.wait_settled()

    assert len(running.worker.seen) == 1
    assert (await running.letters.counts()).dead == 0


async def test_the_same_key_is_one_event(running: EventsWorld) -> None:
    first, second = await running.emit("/order-1"), await running.emit("/order-1")
    await running.wait_settled()
    third, other = await running.emit("/order-1"), await running.emit("/order-2")
    await running.wait_settled()

    assert (first, second, third, other) == (True, False, False, True)
    assert Counter(event.body for event in running.worker.seen) == {
        '{"key":"order-1"}': 1,
        '{"key":"order-2"}': 1,
    }


async def test_emitting_to_an_undeclared_component_is_refused(world: EventsWorld) -> None:
    kit, undeclared = Kit(), Kit().component("worker")

    @kit.route("Path(`/`)")
    async def emit(ctx: Context) -> None:
        await undeclared.emit("/jobs", ctx=ctx)

    await world.plane.deploy("v3", {"web": kit, "worker": world.worker.kit}, "v3")
    await world.plane.start("web", kit, "v3")

    with pytest.raises(NotDeclared, match="web does not declare worker"):
        await world.plane.get("/", "v3", "team-a")
    assert (await world.letters.counts()).waiting == 0


async def test_a_full_stream_refuses_new_events_and_keeps_the_stored_ones(
    world: EventsWorld,
) -> None:
    await world.start()
    jetstream = world.broker.bus.jetstream()
    config = (await jetstream.stream_info(STREAM)).config
    await jetstream.update_stream(config.evolve(max_bytes=1_000))

    with pytest.raises(Overloaded, match="too many events wait"):
        await emit_for_ever(world)
    emitted = (await world.letters.counts()).waiting
    async with world.delivering():
        await world.wait_settled()

    assert emitted > 0
    assert len(world.worker.seen) == emitted


async def emit_for_ever(world: EventsWorld) -> None:
    while True:
        await world.emit()


async def test_an_event_over_the_limit_is_refused_and_one_below_is_not(world: EventsWorld) -> None:
    outbox, subject = Outbox(world.broker.bus), subjects.emitted(WORKER)

    with pytest.raises(BodyTooLarge, match=str(MAX_EVENT_BYTES)):
        await outbox.store(subject, bytes(MAX_EVENT_BYTES + 1))
    assert await outbox.store(subject, bytes(MAX_EVENT_BYTES), deduplication_id="k" * 32)


async def test_emitting_without_an_emit_adapter_names_it_in_the_error(
    own_nats_server: NatsServer,
) -> None:
    async with open_data_plane(own_nats_server.url, process_id="alone") as plane:
        with pytest.raises(NatsUnavailable, match="Start the emit adapter"):
            await Outbox(plane.broker.bus).store(subjects.emitted(WORKER), b"")
