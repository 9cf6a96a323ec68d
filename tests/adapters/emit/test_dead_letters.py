"""What cannot be delivered, or may not be, becomes a dead letter."""

from __future__ import annotations

import pytest

from broker import dead_letters, deliveries
from broker.outbox import Outbox
from fox import Response
from model import records, subjects
from model.context import source_name
from model.environment import EnvironmentData, VirtualEnvironment
from model.errors import InvalidEvent, NotFound
from tests.adapters.emit.world import EMIT, WEB, WORKER, EmitWorld, forge, token_of
from tests.adapters.world import open_test_broker
from tests.support.data_plane import APP, digest
from tests.support.nats import NatsServer


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
