"""Attempts of an event: one at a time, within their limit, and counted when they have begun."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from adapters.events.adapter import EventsAdapter
from adapters.events.attempts import Attempts
from adapters.events.sender import FailedAttempt, after
from broker.events.attempt_histories import AttemptHistories, AttemptHistory
from broker.events.deliveries import ACK
from broker.events.outbox import STREAM
from broker.events.stored_event import StoredEvent
from broker.nats.bus import Bus
from broker.nats.client import FastPathClient
from fox import Context, Kit
from kubefox import subjects
from kubefox.delivery import RUNS_NOT, Delivery
from kubefox.errors import ErrorDetail
from tests.adapters.events.world import EMIT, WEB, WORKER, EventsWorld, forge

REASON = ErrorDetail("component_gone", "")


class Stubborn:
    """A worker that goes on when it is cancelled, until it is released."""

    def __init__(self) -> None:
        self.running = self.most = self.begun = 0
        self.released = asyncio.Event()
        self.has_begun = asyncio.Event()
        self.kit = Kit()
        self.kit.default(timeout_s=0.05)(self._handle)

    async def _handle(self, ctx: Context) -> None:
        self.running += 1
        self.begun += 1
        self.most = max(self.most, self.running)
        self.has_begun.set()
        try:
            await asyncio.sleep(20)
        finally:
            await self.released.wait()
            self.running -= 1


async def test_the_next_attempt_begins_when_the_last_one_has_really_ended(
    world: EventsWorld,
) -> None:
    worker = Stubborn()
    await world.deploy("v2", "v2", worker=worker.kit)
    await world.plane.start("web", world.web, "v2")
    await world.plane.start("worker", worker.kit, "v2")

    async with world.delivering():
        await world.emit("/", "v2")
        await worker.has_begun.wait()
        await asyncio.sleep(0.5)  # without the wait, all attempts would have begun by now
        begun = worker.begun
        worker.released.set()
        letter = await world.dead_letter()

    assert (begun, worker.begun, worker.most) == (1, EMIT.emit_attempts, 1)
    assert (letter.code, letter.attempts) == ("deadline_exceeded", EMIT.emit_attempts)
    assert "exceeded its time limit of 0.05 s" in letter.detail


async def test_an_attempt_of_an_adapter_that_is_gone_ends_before_the_next_one(
    world: EventsWorld,
) -> None:
    await world.start()
    world.worker.gate.clear()
    async with world.delivering(msgspec.structs.replace(EMIT, drain_s=0.01)):
        await world.emit()
        await world.worker.next()

    async with world.delivering() as adapter:
        while not adapter.waits:
            await asyncio.sleep(0.01)
        begun = len(world.worker.seen)
        world.worker.gate.set()
        await world.wait_settled()

    assert begun == 1
    assert [event.attempt for event in world.worker.seen] == [1, 2]


async def test_a_delayed_event_is_not_delivered_before_its_time(running: EventsWorld) -> None:
    due_ms = int((time.time() + 0.4) * 1000)

    await forge(running, WEB, delivery=Delivery(due_ms=due_ms))
    handled = await running.worker.next()

    assert time.time() * 1000 >= due_ms
    assert handled.attempt == 1


async def test_the_time_limit_of_the_emitter_ends_an_attempt(running: EventsWorld) -> None:
    running.worker.gate.clear()

    await forge(running, WEB, delivery=Delivery(timeout_ms=50))
    letter = await running.dead_letter()

    assert (letter.code, letter.attempts) == ("deadline_exceeded", EMIT.emit_attempts)


async def test_in_a_cluster_a_pod_that_is_cut_off_for_seconds_is_not_taken_for_gone(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FastPathClient, "is_clustered", True)
    monkeypatch.setattr("adapters.events.attempts._GONE_PAUSE_S", 0.05)
    attempts, asked = Attempts(bus, hung_s=60), asyncio.Event()

    async def answer(_payload: bytes, reply: str) -> None:
        asked.set()
        await bus.publish(reply, RUNS_NOT)

    with attempts.open(lambda: None) as attempt:
        attempt.process_id = "pod-1"
        waiting = asyncio.create_task(attempts.wait_ended(attempt, "event"))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        await bus.serve(subjects.runs_of(attempt.process_id), answer)
        await waiting

    assert asked.is_set()


async def test_in_a_cluster_a_pod_that_has_died_is_not_waited_for(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FastPathClient, "is_clustered", True)
    pauses: list[float] = []

    async def note(pause_s: float) -> None:
        pauses.append(pause_s)

    attempts = Attempts(bus, hung_s=60)
    with attempts.open(lambda: None) as attempt, monkeypatch.context() as patched:
        attempt.process_id = "pod-1"
        patched.setattr("adapters.events.attempts.asyncio.sleep", note)
        await attempts.wait_ended(attempt, "event", has_died=True)

    assert len(pauses) == 1


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (FailedAttempt(503, REASON), (1, 3, True)),
        (FailedAttempt(500, REASON, has_begun=True), (2, 2, False)),
        (FailedAttempt(502, REASON, has_begun=True, is_suspect=True), (2, 2, True)),
    ],
)
def test_an_event_is_suspect_until_an_attempt_ends_with_its_pod_alive(
    failure: FailedAttempt, expected: tuple[int, int, bool]
) -> None:
    history = AttemptHistory(stored_at_s=1, begun=1, waited=2, is_suspect=True)

    found = after(failure, history)

    assert (found.begun, found.waited, found.is_suspect) == expected


async def test_a_history_is_that_of_one_event_and_not_of_a_later_stream(
    world: EventsWorld,
) -> None:
    histories = AttemptHistories(world.broker.bus)
    event = StoredEvent("emit.shop.api.1", b"", sequence=7, deliveries=4, stored_at_s=12.25)
    history = AttemptHistory(stored_at_s=12.25, begun=1, waited=1)

    await histories.put(event, history)
    found = await histories.get(event)
    later = await histories.get(event._replace(stored_at_s=99.5))
    await histories.delete(event)

    assert (found, found.unknown(4)) == (history, 1)
    assert (later.begun, later.unknown(4)) == (0, 3)
    assert (await histories.get(event)).begun == 0


@pytest.mark.parametrize(("is_running", "begun"), [(False, EMIT.emit_attempts), (True, 1)])
async def test_an_attempt_that_ends_while_its_pods_are_asked_counts(
    world: EventsWorld, monkeypatch: pytest.MonkeyPatch, is_running: bool, begun: int
) -> None:
    await forge(world, WEB)
    message = await world.broker.bus.jetstream().get_last_msg(STREAM, subjects.emitted(WORKER))
    stored_at_s, frame = time.time(), message.data or b""
    again = StoredEvent(subjects.emitted(WORKER), frame, message.seq or 0, begun + 1, stored_at_s)
    histories = AttemptHistories(world.broker.bus)
    before = AttemptHistory(stored_at_s=stored_at_s, begun=begun - 1)
    await histories.put(again, before)

    async def end_meanwhile(*_: object) -> bool:
        await histories.put(again, msgspec.structs.replace(before, begun=begun))
        return is_running

    monkeypatch.setattr(Attempts, "is_running", end_meanwhile)
    await world.start()
    settlement = await EventsAdapter(world.broker, EMIT).deliver(again)

    assert world.worker.seen == []
    if is_running:
        assert (await histories.get(again)).begun == begun
    else:
        assert (settlement, (await world.letters.counts()).dead) == (ACK, 1)


async def test_a_pod_gets_its_answer_while_other_data_waits_to_be_written(
    running: EventsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The bus can send without waiting only if nats-py has nothing to write.
    monkeypatch.setattr(running.broker.bus, "send", lambda *_: False)

    await running.emit()
    await running.worker.next()
    await running.wait_settled()

    assert len(running.worker.seen) == 1
