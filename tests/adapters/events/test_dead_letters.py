"""Events that cannot or must not be delivered become dead letters."""

from __future__ import annotations

import pytest

from adapters.events.adapter import EventsAdapter
from broker.events import dead_letters, deliveries
from broker.events.deliveries import nak
from broker.events.outbox import Outbox
from fox import Response
from kubefox import records, subjects
from kubefox.context import source_name
from kubefox.environment import EnvironmentData, VirtualEnvironment
from kubefox.errors import InvalidEvent, NotFound
from tests.adapters.events.world import EMIT, WEB, WORKER, EventsWorld, forge, token_of
from tests.support.data_plane import APP, digest, open_data_plane
from tests.support.nats import NatsServer


async def test_an_event_that_always_fails_becomes_a_dead_letter_and_others_are_delivered(
    running: EventsWorld,
) -> None:
    running.worker.answers = [Response(status=500)] * 3

    await running.emit("/poison")
    letter = await running.dead_letter()
    await running.emit("/fine")
    await running.wait_settled()

    assert [event.attempt for event in running.worker.seen] == [1, 2, 3, 1]
    assert (letter.code, letter.attempts) == ("component_failed", 3)
    assert letter.detail == f"worker@{digest('v1')[:12]} responded with status 500"
    assert (letter.app, letter.deployment, letter.virtual_environment) == (APP, "v1", "team-a")
    assert (letter.component, letter.hash, letter.source) == ("worker", digest("v1"), WEB)
    assert (letter.method, letter.path, letter.body) == ("POST", "/jobs", '{"key":"poison"}')
    assert 0 < letter.emitted_at_s <= letter.died_at_s


async def test_a_refused_event_is_not_retried(running: EventsWorld) -> None:
    running.worker.answers = [InvalidEvent("not JSON")]

    await running.emit()
    letter = await running.dead_letter()

    assert (letter.code, letter.detail, letter.attempts) == ("invalid_event", "not JSON", 1)
    assert len(running.worker.seen) == 1


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("adapter/http", "not_declared"),
        (source_name("web", digest("v2")), "not_declared"),
        (source_name("worker", digest("v1")), "not_declared"),
        ("", "not_declared"),
    ],
)
async def test_an_event_of_an_undeclared_sender_is_not_delivered(
    running: EventsWorld, source: str, code: str
) -> None:
    await forge(running, source)

    letter = await running.dead_letter()

    assert (letter.code, letter.attempts, running.worker.seen) == (code, 1, [])


async def test_an_event_for_a_version_outside_its_deployment_is_never_delivered(
    world: EventsWorld,
) -> None:
    await world.deploy("v2", "v2")
    await world.start("v2")
    await forge(world, WEB, subjects.component(APP, "worker", digest("v2")))

    async with world.delivering():
        letter = await world.dead_letter()

    assert (letter.code, letter.attempts, world.worker.seen) == ("component_mismatch", 1, [])


async def test_an_event_with_a_forged_context_is_a_dead_letter(
    running: EventsWorld,
) -> None:
    await forge(running, WEB, context=(await token_of(running))[:-3] + "AAA")

    letter = await running.dead_letter()

    assert (letter.code, letter.deployment) == ("invalid_event", "")


async def test_a_frame_that_is_not_an_event_is_a_dead_letter_and_stays_unchanged(
    running: EventsWorld,
) -> None:
    await Outbox(running.broker.bus).store(subjects.emitted(WORKER), b"\xffgarbage")

    letter = await running.dead_letter()
    await running.letters.redeliver(letter.id)
    again = await running.wait_counts(lambda counts: counts == (0, 1))

    assert (letter.code, letter.event_id, letter.component) == ("invalid_event", "", "worker")
    assert letter.body_base64 == "/2dhcmJhZ2U="
    assert again.dead == 1


async def test_an_event_whose_context_data_is_gone_is_a_dead_letter(
    world: EventsWorld, own_nats_server: NatsServer
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
        open_data_plane(own_nats_server.url, process_id="forgetful") as other,
        world.delivering(broker=other.broker),
    ):
        letter = await world.dead_letter()

    assert letter.code == "invalid_context"
    assert "too old" in letter.detail
    assert letter.deployment == "v1"


async def test_a_redelivered_dead_letter_counts_its_earlier_attempts(running: EventsWorld) -> None:
    running.worker.answers = [Response(status=404)]
    await running.emit()
    letter = await running.dead_letter()
    await running.worker.next()

    await running.letters.redeliver(letter.id)

    assert (await running.worker.next()).attempt == 2
    assert await running.wait_counts(lambda counts: counts.waiting == 0) == (0, 0)
    with pytest.raises(NotFound):
        await running.letters.redeliver(letter.id)


async def test_a_dead_letter_can_be_dropped(running: EventsWorld) -> None:
    running.worker.answers = [Response(status=404)]
    await running.emit()
    letter = await running.dead_letter()

    await running.letters.delete(letter.id)

    assert await running.letters.page(0, 10) == ([], None)
    for letter_id in (letter.id, "17", "0", "-1", "x", "9" * 30):
        with pytest.raises(NotFound, match="does not exist"):
            await running.letters.delete(letter_id)
        with pytest.raises(NotFound, match="does not exist"):
            await running.letters.get(letter_id)


async def test_dead_letters_are_listed_page_by_page(running: EventsWorld) -> None:
    letters = dead_letters.DeadLetters(running.broker.bus, page_letters=2)
    for number in range(5):
        await forge(running, f"adapter/{number}")
    await running.wait_counts(lambda counts: counts == (0, 5))

    listed, after = await letters.page(0, 10)
    while after is not None:
        page, after = await letters.page(after, 10)
        assert len(page) <= 2
        listed += page

    assert {letter.source for letter in listed} == {f"adapter/{number}" for number in range(5)}
    assert [int(letter.id) for letter in listed] == sorted(int(letter.id) for letter in listed)
    assert len((await letters.page(0, 1))[0]) == 1
    assert {letter.body for letter in listed} == {""}


async def test_while_dead_letters_are_full_failed_events_stay_stored(
    world: EventsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not a short ack wait: JetStream would deliver an event again in the middle of an attempt.
    monkeypatch.setattr(deliveries, "nak", lambda _delay_s: nak(0.05))
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
    assert letter.attempts == EMIT.emit_attempts
    assert len(world.worker.seen) == EMIT.emit_attempts


async def test_an_event_over_the_highest_age_is_a_dead_letter(world: EventsWorld) -> None:
    await world.start()
    await world.emit()

    async with EventsAdapter(world.broker, EMIT, max_age_s=0):
        letter = await world.dead_letter()

    assert (letter.code, world.worker.seen) == ("deadline_exceeded", [])


async def test_an_internal_error_counts_as_a_failed_attempt(
    running: EventsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(running.broker, "deliver", break_down)
    await running.emit()

    letter = await running.dead_letter()

    assert (letter.code, letter.attempts) == ("internal_error", EMIT.emit_attempts)
    assert "a fault" not in letter.detail
