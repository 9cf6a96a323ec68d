"""Emitted events on a real NATS: delivered in their context, at least once, or dead letters."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker import dead_letters, deliveries
from broker.outbox import MAX_EVENT_BYTES, STREAM, Outbox
from fox import Context, Kit, Response
from model import codec, records, subjects
from model.context import seal, source_name
from model.environment import EnvironmentData, VirtualEnvironment
from model.errors import (
    BodyTooLarge,
    ComponentFailed,
    InvalidEvent,
    NatsUnavailable,
    NotDeclared,
    NotFound,
    Overloaded,
    RevisionConflict,
)
from model.event import Event, EventType
from tests.adapters.emit_world import EMIT, SOON_S, EmitWorld, open_emit_world
from tests.adapters.world import open_test_broker
from tests.support.data_plane import APP, digest
from tests.support.nats import NatsServer

WEB = source_name("web", digest("v1"))
WORKER = subjects.component(APP, "worker", digest("v1"))


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[EmitWorld]:
    async with open_emit_world(own_nats_server.url) as world:
        yield world


@pytest.fixture
async def running(world: EmitWorld) -> AsyncIterator[EmitWorld]:
    """A world whose pods run and whose events are delivered."""
    await world.start()
    async with world.delivering():
        yield world


async def forge(world: EmitWorld, source: str, target: str = WORKER, context: str = "") -> None:
    """Store an event as somebody could who may write to the stream."""
    token = context or await token_of(world)
    event = Event(
        id="1", genesis_id="1", type=EventType.HTTP, context=token, source=source, deadline_ms=0
    )
    await Outbox(world.broker.bus).store(subjects.emitted(target), codec.encode(event, b"x"))


async def token_of(world: EmitWorld, deployment: str = "v1") -> str:
    context = world.plane.target("/", deployment, "team-a").context
    return seal(context, await world.broker.store.platform_key())


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


async def test_an_event_that_always_fails_becomes_a_dead_letter_and_others_go_on(
    running: EmitWorld,
) -> None:
    running.worker.answers = [Response(status=500)] * 3

    await running.emit("/poison")
    letter = await running.dead_letter()
    await running.emit("/fine")
    await running.wait_settled()

    assert [each.attempt for each in running.worker.seen] == [1, 2, 3, 1]
    assert (letter.code, letter.attempts) == ("component_failed", 3)
    assert letter.detail == f"worker@{digest('v1')[:12]} answered 500"
    assert (letter.app, letter.deployment, letter.virtual_environment) == (APP, "v1", "team-a")
    assert (letter.component, letter.hash, letter.source) == ("worker", digest("v1"), WEB)
    assert (letter.method, letter.path, letter.body) == ("POST", "/jobs", '{"key":"poison"}')
    assert 0 < letter.emitted_at_s <= letter.died_at_s


async def test_an_event_that_its_component_refuses_is_not_tried_again(running: EmitWorld) -> None:
    running.worker.answers = [InvalidEvent("not JSON")]

    await running.emit()
    letter = await running.dead_letter()

    assert (letter.code, letter.detail, letter.attempts) == ("invalid_event", "not JSON", 1)
    assert len(running.worker.seen) == 1


async def test_without_a_pod_an_event_is_given_up_after_its_attempts(world: EmitWorld) -> None:
    await world.plane.start("web", world.web)
    await world.emit()

    async with world.delivering():
        letter = await world.dead_letter()

    assert (letter.code, letter.attempts) == ("no_pod_ready", 3)


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


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("adapter/http", "not_declared"),
        (source_name("web", digest("v2")), "not_declared"),
        (source_name("worker", digest("v1")), "not_declared"),
        ("", "not_declared"),
    ],
)
async def test_an_event_of_who_may_not_send_it_is_never_delivered(
    running: EmitWorld, source: str, code: str
) -> None:
    await forge(running, source)

    letter = await running.dead_letter()

    assert (letter.code, letter.attempts, running.worker.seen) == (code, 1, [])


async def test_an_event_for_a_version_outside_its_deployment_is_never_delivered(
    world: EmitWorld,
) -> None:
    await world.deploy("v2", "v2")
    await world.start("v2")
    await forge(world, WEB, subjects.component(APP, "worker", digest("v2")))

    async with world.delivering():
        letter = await world.dead_letter()

    assert (letter.code, letter.attempts, world.worker.seen) == ("component_mismatch", 1, [])


async def test_an_event_in_no_context_of_this_platform_is_a_dead_letter(
    running: EmitWorld,
) -> None:
    await forge(running, WEB, context=(await token_of(running))[:-3] + "AAA")

    letter = await running.dead_letter()

    assert (letter.code, letter.deployment) == ("invalid_event", "")


async def test_what_is_no_event_is_a_dead_letter_and_stays_what_it_is(running: EmitWorld) -> None:
    await Outbox(running.broker.bus).store(subjects.emitted(WORKER), b"\xffgarbage")

    letter = await running.dead_letter()
    await running.letters.redeliver(letter.id)
    again = await running.wait_counts(lambda counts: counts == (0, 1))

    assert (letter.code, letter.event_id, letter.component) == ("invalid_event", "", "worker")
    assert letter.body_base64 == "/2dhcmJhZ2U="
    assert again.dead == 1


async def test_an_event_whose_data_is_no_longer_kept_is_a_dead_letter(
    world: EmitWorld, own_nats_server: NatsServer
) -> None:
    await world.start()
    await world.emit()
    key, revision = records.virtual_environment_key("team-a"), 0
    for number in range(70):
        data = EnvironmentData(vars={"colour": number})
        changed = VirtualEnvironment(name="team-a", environment="dev", data=data)
        held = revision or world.broker.snapshot.revision_of(key)
        revision = await world.broker.store.update(key, changed, held)

    async with (
        open_test_broker(own_nats_server.url, "forgetful") as broker,
        world.delivering(broker=broker),
    ):
        letter = await world.dead_letter()

    assert letter.code == "invalid_context"
    assert "too old" in letter.detail
    assert letter.deployment == "v1"


async def test_a_dead_letter_is_delivered_again_as_one_that_was_tried(running: EmitWorld) -> None:
    running.worker.answers = [Response(status=404)]
    await running.emit()
    letter = await running.dead_letter()
    await running.worker.next()

    await running.letters.redeliver(letter.id)

    assert (await running.worker.next()).attempt == 2
    assert await running.wait_counts(lambda counts: counts.waiting == 0) == (0, 0)
    with pytest.raises(NotFound):
        await running.letters.redeliver(letter.id)


async def test_a_dead_letter_can_be_dropped(running: EmitWorld) -> None:
    running.worker.answers = [Response(status=404)]
    await running.emit()
    letter = await running.dead_letter()

    await running.letters.delete(letter.id)

    assert await running.letters.all(10) == []
    for letter_id in (letter.id, "17", "0", "-1", "x", "9" * 30):
        with pytest.raises(NotFound, match="no dead letter"):
            await running.letters.delete(letter_id)
        with pytest.raises(NotFound, match="no dead letter"):
            await running.letters.get(letter_id)


async def test_dead_letters_are_listed_page_by_page(
    running: EmitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.dead_letters._PAGE_LETTERS", 2)
    for number in range(5):
        await forge(running, f"adapter/{number}")
    await running.wait_counts(lambda counts: counts == (0, 5))

    listed = await running.letters.all(10)

    assert {each.source for each in listed} == {f"adapter/{number}" for number in range(5)}
    assert [int(each.id) for each in listed] == sorted(int(each.id) for each in listed)
    assert len(await running.letters.all(3)) == 3
    assert {each.body for each in listed} == {""}


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


async def test_while_dead_letters_are_full_what_is_given_up_stays_where_it_is(
    world: EmitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_HOLD_S", 0.05)
    jetstream = world.broker.bus.jetstream()
    config = (await jetstream.stream_info(dead_letters.STREAM)).config
    await jetstream.update_stream(config.evolve(max_bytes=1))
    await world.start()
    world.worker.answers = [Response(status=404)] * 1_000

    async with world.delivering():
        await world.emit()
        for _ in range(EMIT.emit_attempts):
            await world.worker.next()
        before = await world.letters.counts()
        await jetstream.update_stream(config)
        letter = await world.dead_letter()

    assert before == (1, 0)
    assert letter.attempts >= EMIT.emit_attempts
    assert len(world.worker.seen) == EMIT.emit_attempts


async def test_an_event_that_is_too_old_is_given_up(
    world: EmitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.emit.MAX_WAIT_S", 0.0)
    await world.start()
    await world.emit()

    async with world.delivering():
        letter = await world.dead_letter()

    assert (letter.code, world.worker.seen) == ("deadline_exceeded", [])


async def test_a_fault_of_the_platform_is_an_attempt_that_failed(
    running: EmitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(running.broker, "deliver", break_down)
    await running.emit()

    letter = await running.dead_letter()

    assert (letter.code, letter.attempts) == ("internal_error", EMIT.emit_attempts)
    assert "a fault" not in letter.detail


async def test_an_event_over_the_limit_is_refused_and_one_below_is_not(world: EmitWorld) -> None:
    outbox, subject = Outbox(world.broker.bus), subjects.emitted(WORKER)

    with pytest.raises(BodyTooLarge, match=str(MAX_EVENT_BYTES)):
        await outbox.store(subject, bytes(MAX_EVENT_BYTES + 1))
    assert await outbox.store(subject, bytes(MAX_EVENT_BYTES), deduplication_id="k" * 32)


async def test_where_no_adapter_ever_ran_emitting_says_so(own_nats_server: NatsServer) -> None:
    async with open_test_broker(own_nats_server.url, "alone") as broker:
        with pytest.raises(NatsUnavailable, match="no emit adapter"):
            await Outbox(broker.bus).store(subjects.emitted(WORKER), b"")


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
