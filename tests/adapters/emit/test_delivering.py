"""Emitted events on a real NATS: delivered in their context, at least once, or not taken."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker.outbox import MAX_EVENT_BYTES, STREAM, Outbox
from fox import Context, Kit, Response
from model import subjects
from model.context import source_name
from model.errors import (
    BodyTooLarge,
    ComponentFailed,
    NatsUnavailable,
    NotDeclared,
    Overloaded,
    RevisionConflict,
)
from model.event import EventType
from model.stream import INLINE_BYTES
from tests.adapters.emit.world import EMIT, WEB, WORKER, EmitWorld
from tests.adapters.world import open_test_broker
from tests.support.data_plane import digest
from tests.support.nats import NatsServer


async def test_an_event_is_handled_in_the_context_in_which_it_was_emitted(
    running: EmitWorld,
) -> None:
    assert await running.emit("/first")

    handled = await running.worker.next()

    assert (handled.deployment, handled.virtual_environment) == ("v1", "team-a")
    assert (handled.type, handled.source, handled.attempt) == (EventType.COMPONENT, WEB, 1)
    assert (handled.path, handled.body) == ("/jobs", '{"key":"first"}')
    await running.wait_settled()
    assert len(running.worker.seen) == 1


async def test_an_event_waits_for_its_pod_and_for_who_delivers_it(world: EmitWorld) -> None:
    await world.plane.start("web", world.web)
    assert await world.emit()
    assert (await world.letters.counts()).waiting == 1

    async with world.delivering(msgspec.structs.replace(EMIT, emit_attempts=1_000)):
        await world.plane.start("worker", world.worker.kit)
        await world.worker.next()
        await world.wait_settled()


async def test_deployments_and_virtual_environments_never_meet(world: EmitWorld) -> None:
    other = type(world.worker)()
    await world.deploy("v2", "v2", worker=other.kit)
    await world.start()
    await world.plane.start("web", world.web, "v2")
    await world.plane.start("worker", other.kit, "v2")
    places = [(name, team) for name in ("v1", "v2") for team in ("team-a", "team-b")]

    async with world.delivering():
        await asyncio.gather(*(world.emit("/same-key", *each) for each in places * 5))
        await world.wait_settled()

    for worker, name in ((world.worker, "v1"), (other, "v2")):
        assert sorted((each.deployment, each.virtual_environment) for each in worker.seen) == [
            (name, "team-a"),
            (name, "team-b"),
        ]
        for each in worker.seen:
            assert each.source == source_name("web", digest(name))
            assert each.colour == f"colour of {each.virtual_environment}"


async def test_an_event_keeps_the_variables_of_when_it_was_emitted(world: EmitWorld) -> None:
    await world.start()
    await world.emit()
    await world.plane.virtual_environment("team-a", colour="new")

    async with world.delivering():
        handled = await world.worker.next()

    assert handled.colour == "colour of team-a"


async def test_what_was_emitted_stays_so_when_its_emitter_fails(running: EmitWorld) -> None:
    with pytest.raises(ComponentFailed):
        await running.emit("/fail")

    assert (await running.worker.next()).body == '{"key":"fail"}'


async def test_an_event_that_fails_is_delivered_again_and_its_handler_sees_it(
    running: EmitWorld,
) -> None:
    running.worker.answers = [ValueError("no"), RevisionConflict("somebody was faster")]

    await running.emit()
    await running.wait_settled()

    assert [each.attempt for each in running.worker.seen] == [1, 2, 3]
    assert (await running.letters.counts()).dead == 0


async def test_what_makes_an_answer_is_a_part_of_handling_the_event(
    running: EmitWorld, caplog: pytest.LogCaptureFixture
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

    assert [each.attempt for each in running.worker.seen] == [1, 2]
    assert made == ["all"]
    assert caplog.text.count("was cut") == 1
    assert not any(len(each.streams) for each in running.buses)


async def test_an_answer_that_takes_longer_than_the_event_has_failed(world: EmitWorld) -> None:
    async def endless() -> AsyncIterator[str]:
        while True:
            yield "a"

    await world.start()
    world.worker.answers = [Response.stream(endless())]

    async with world.delivering(msgspec.structs.replace(EMIT, event_ttl_s=0.3)):
        await world.emit()
        await world.wait_settled()

    assert [each.attempt for each in world.worker.seen] == [1, 2]


async def test_a_long_answer_is_as_good_as_a_short_one(running: EmitWorld) -> None:
    running.worker.answers = [bytes(2 * INLINE_BYTES)]

    await running.emit()
    await running.wait_settled()

    assert len(running.worker.seen) == 1
    assert (await running.letters.counts()).dead == 0


async def test_the_same_key_is_one_event(running: EmitWorld) -> None:
    first, second = await running.emit("/order-1"), await running.emit("/order-1")
    await running.wait_settled()
    third, other = await running.emit("/order-1"), await running.emit("/order-2")
    await running.wait_settled()

    assert (first, second, third, other) == (True, False, False, True)
    assert Counter(each.body for each in running.worker.seen) == {
        '{"key":"order-1"}': 1,
        '{"key":"order-2"}': 1,
    }


async def test_nothing_is_emitted_to_what_was_not_declared(world: EmitWorld) -> None:
    kit, undeclared = Kit(), Kit().component("worker")

    @kit.route("Path(`/`)")
    async def emit(ctx: Context) -> None:
        await undeclared.emit("/jobs", ctx=ctx)

    await world.plane.deploy("v3", {"web": kit, "worker": world.worker.kit}, "v3")
    await world.plane.start("web", kit, "v3")

    with pytest.raises(NotDeclared, match="web does not declare worker"):
        await world.plane.get("/", "v3", "team-a")
    assert (await world.letters.counts()).waiting == 0


async def test_a_full_stream_refuses_what_is_new_and_keeps_the_rest(world: EmitWorld) -> None:
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


async def emit_for_ever(world: EmitWorld) -> None:
    while True:
        await world.emit()


async def test_an_event_over_the_limit_is_refused_and_one_below_is_not(world: EmitWorld) -> None:
    outbox, subject = Outbox(world.broker.bus), subjects.emitted(WORKER)

    with pytest.raises(BodyTooLarge, match=str(MAX_EVENT_BYTES)):
        await outbox.store(subject, bytes(MAX_EVENT_BYTES + 1))
    assert await outbox.store(subject, bytes(MAX_EVENT_BYTES), deduplication_id="k" * 32)


async def test_where_no_adapter_ever_ran_emitting_says_so(own_nats_server: NatsServer) -> None:
    async with open_test_broker(own_nats_server.url, "alone") as broker:
        with pytest.raises(NatsUnavailable, match="no emit adapter"):
            await Outbox(broker.bus).store(subjects.emitted(WORKER), b"")
