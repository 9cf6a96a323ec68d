"""The cron adapter on a real NATS, with a clock that tests move."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from adapters.cron.adapter import CronAdapter
from adapters.cron.claims import ClaimRefusal, TickClaims
from adapters.cron.schedule import TOLERANCE_S
from broker.dispatch.broker import Broker
from broker.streams.body_sender import StreamedBody
from kubefox.component import ComponentDefinition, Schedule
from kubefox.errors import ComponentFailed
from kubefox.event import EventType
from tests.adapters.cron.world import (
    FIRST_TICK,
    MINUTELY,
    SECOND_TICK,
    SOON_S,
    THIRD_TICK,
    Clock,
    Cron,
    Log,
    Pod,
    in_environment,
    prepare,
    serving,
)
from tests.support.data_plane import SETTINGS, digest, open_data_plane
from tests.support.nats import NatsServer
from tests.support.world import World


@pytest.fixture
def log() -> Iterator[Log]:
    handler = Log()
    logger = logging.getLogger("adapters.cron.adapter")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
async def pod(broker: Broker) -> AsyncIterator[Pod]:
    pod = Pod()
    async with serving(broker, pod):
        yield pod
        pod.gate.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def cron(world: World, clock: Clock) -> AsyncIterator[Cron]:
    """One adapter; order-worker ticks each minute in the released team-a."""
    await prepare(world, MINUTELY)
    async with CronAdapter(world.broker, SETTINGS, clock=clock):
        yield Cron(world, clock)


async def test_a_tick_is_a_genesis_event_with_its_due_time(cron: Cron, pod: Pod) -> None:
    await cron.pass_by(30)

    event = await pod.next_event()

    assert event.id == event.genesis_id
    assert (event.type, event.source) == (EventType.CRON, "adapter/cron")
    assert event.handler == MINUTELY.id
    assert event.params == {"tick": FIRST_TICK}
    context = cron.world.broker.store.keys.unseal(event.context)
    assert (context.deployment, context.virtual_environment) == ("order-app-v1", "team-a")


async def test_each_released_environment_has_its_own_ticks(cron: Cron, pod: Pod) -> None:
    await cron.world.plane.virtual_environment("team-b")
    await cron.world.plane.virtual_environment("not-released")
    await cron.world.plane.release("team-b", "order-app-v1")

    await cron.pass_by(30)
    first = [await pod.next_event() for _ in range(2)]
    await cron.pass_by(60)
    second = [await pod.next_event() for _ in range(2)]

    for events in (first, second):
        assert sorted(in_environment(event, cron.world.broker) for event in events) == [
            "team-a",
            "team-b",
        ]
    assert len(pod.seen) == 4


async def test_of_several_adapters_one_sends_each_tick(
    cron: Cron, pod: Pod, own_nats_server: NatsServer
) -> None:
    async with (
        open_data_plane(own_nats_server.url, process_id="broker-2") as second,
        open_data_plane(own_nats_server.url, process_id="broker-3") as third,
        CronAdapter(second.broker, SETTINGS, clock=cron.clock),
        CronAdapter(third.broker, SETTINGS, clock=cron.clock),
    ):
        await cron.pass_by(30)
        ticks = await pod.ticks(1)
        for _ in range(5):
            await cron.pass_by(60)
            ticks += await pod.ticks(1)

    assert len(set(ticks)) == 6
    assert len(pod.seen) == 6


async def test_the_timer_wakes_two_adapters_and_each_tick_comes_once(
    world: World, pod: Pod, own_nats_server: NatsServer
) -> None:
    await prepare(world, Schedule(id=0, cron="@every 1s"))

    async with (
        open_data_plane(own_nats_server.url, process_id="broker-2") as second,
        CronAdapter(world.broker, SETTINGS),
        CronAdapter(second.broker, SETTINGS),
    ):
        ticks: set[str] = set()
        # Ticks of the last few seconds are sent at the start, so wait for more than those.
        while len(ticks) < TOLERANCE_S + 2:
            ticks |= set(await pod.ticks(1))

    counts = Counter(event.params["tick"] for event in pod.seen)
    assert set(counts.values()) == {1}
    in_order = sorted(counts)
    assert [event.params["tick"] for event in pod.seen] == in_order


async def test_a_release_starts_ticks_and_its_end_stops_them(cron: Cron, pod: Pod) -> None:
    world = cron.world
    await world.plane.withdraw("team-a")
    await cron.pass_by(30)
    await world.plane.release("team-a", "order-app-v1")

    await cron.pass_by(60)

    assert await pod.ticks(1) == [SECOND_TICK]


async def test_a_new_release_of_the_same_schedule_neither_repeats_nor_skips_a_tick(
    cron: Cron, pod: Pod
) -> None:
    await cron.pass_by(30)
    first = await pod.ticks(1)
    worker = ComponentDefinition(name="order-worker", schedules=(MINUTELY,))
    review = ComponentDefinition(name="review")
    await cron.world.plane.deploy("order-app-v2", {"order-worker": worker, "review": review})
    await cron.world.plane.release("team-a", "order-app-v2")

    await cron.pass_by(60)

    assert first + await pod.ticks(1) == [FIRST_TICK, SECOND_TICK]
    assert len(pod.seen) == 2


async def test_a_tick_is_skipped_while_the_previous_one_runs(
    world: World, pod: Pod, clock: Clock, log: Log
) -> None:
    await prepare(world, MINUTELY)
    patient = msgspec.structs.replace(SETTINGS, event_ttl_s=100)
    cron = Cron(world, clock)
    pod.gate.clear()

    async with CronAdapter(world.broker, patient, clock=clock):
        await cron.pass_by(30)
        assert await pod.ticks(1) == [FIRST_TICK]
        await cron.pass_by(60)
        assert SECOND_TICK in await log.wait_for("is skipped: the previous tick is still running")
        pod.gate.set()
    await cron.pass_by(30)
    async with CronAdapter(world.broker, patient, clock=clock):
        await cron.pass_by(30)
        assert await pod.ticks(1) == [THIRD_TICK]


async def test_after_a_restart_only_ticks_within_the_tolerance_are_sent(
    world: World, pod: Pod, clock: Clock
) -> None:
    await prepare(world, MINUTELY)
    clock.now_s += 60 * 10 + 30 + TOLERANCE_S - 1

    async with CronAdapter(world.broker, SETTINGS, clock=clock):
        made_up = await pod.ticks(1)

    assert made_up == ["2026-03-01T12:11:00+00:00"]
    assert len(pod.seen) == 1


async def test_ticks_go_on_after_the_clock_was_set_back(cron: Cron, pod: Pod, log: Log) -> None:
    await cron.pass_by(30)
    assert await pod.ticks(1) == [FIRST_TICK]

    await cron.pass_by(-3600)
    assert "set back by 3600 s" in await log.wait_for("the clock was set")
    await cron.pass_by(60)

    assert await pod.ticks(1) == ["2026-03-01T11:02:00+00:00"]


async def test_a_tick_that_fails_is_logged_with_its_event_and_the_next_one_comes(
    cron: Cron, pod: Pod, log: Log
) -> None:
    pod.error = ComponentFailed("out of paper")
    await cron.pass_by(30)
    event = await pod.next_event()
    assert event.id in await log.wait_for("out of paper")

    pod.error = None
    await cron.pass_by(60)

    assert await pod.ticks(1) == [SECOND_TICK]


async def test_a_handler_that_answers_with_an_error_status_is_logged(
    cron: Cron, pod: Pod, log: Log
) -> None:
    pod.status = 500

    await cron.pass_by(30)

    event = await pod.next_event()
    line = await log.wait_for("was answered with status 500")
    assert event.id in line
    assert f"order-worker@{digest('v1')[:12]} in team-a" in line


async def test_a_tick_that_finds_no_pod_is_sent_again(
    cron: Cron, broker: Broker, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "adapters.cron.adapter")
    await cron.pass_by(30)
    await log.wait_for("waits: no pod is ready")

    pod = Pod()
    async with serving(broker, pod):
        assert await pod.ticks(1) == [FIRST_TICK]


async def test_a_tick_without_a_pod_is_lost_and_the_next_one_is_sent(
    cron: Cron, broker: Broker, log: Log
) -> None:
    await cron.pass_by(30)
    await cron.pass_by(TOLERANCE_S)
    await log.wait_for("no pod of order-worker")

    pod = Pod()
    async with serving(broker, pod):
        await cron.pass_by(60 - TOLERANCE_S)
        assert await pod.ticks(1) == [SECOND_TICK]


async def test_a_tick_lasts_until_its_streamed_response_ends(
    cron: Cron, world: World, pod: Pod
) -> None:
    ended = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"
        ended.set()

    pod.stream = StreamedBody(chunks())

    await cron.pass_by(30)

    async with asyncio.timeout(SOON_S):
        await ended.wait()


async def test_a_schedule_that_cannot_be_read_is_logged_and_the_others_tick(
    world: World, pod: Pod, clock: Clock, log: Log
) -> None:
    await prepare(world, Schedule(id=0, cron="whenever"), Schedule(id=1, cron="* * * * *"))
    cron = Cron(world, clock)

    async with CronAdapter(world.broker, SETTINGS, clock=clock):
        await log.wait_for("'whenever' is not valid")
        await cron.pass_by(30)
        event = await pod.next_event()

    assert event.handler == 1


async def test_closing_waits_for_a_running_tick(world: World, pod: Pod, clock: Clock) -> None:
    await prepare(world, MINUTELY)
    pod.gate.clear()
    adapter = CronAdapter(world.broker, SETTINGS, clock=clock)
    async with adapter:
        await Cron(world, clock).pass_by(30)
        await pod.ticks(1)
        leaving = asyncio.create_task(adapter.__aexit__(None, None, None))
        await asyncio.sleep(0)
        assert not leaving.done()

        pod.gate.set()
        await leaving

    assert world.broker.in_flight == 0


async def test_closing_cancels_a_tick_after_the_drain_time(
    world: World, pod: Pod, clock: Clock
) -> None:
    await prepare(world, MINUTELY)
    pod.gate.clear()

    async with CronAdapter(
        world.broker, msgspec.structs.replace(SETTINGS, drain_s=0.01), clock=clock
    ):
        await Cron(world, clock).pass_by(30)
        await pod.ticks(1)

    assert world.broker.in_flight == 0


async def test_ticks_that_waited_too_long_are_skipped(
    world: World, pod: Pod, clock: Clock, log: Log
) -> None:
    await prepare(world, Schedule(id=0, cron="@every 1s"))
    pod.gate.clear()

    async with CronAdapter(world.broker, SETTINGS, clock=clock):
        await pod.ticks(1)
        clock.now_s += 2 * TOLERANCE_S
        pod.gate.set()
        await log.wait_for("is skipped: it is too late to run it")

    assert len(pod.seen) == 1


async def test_a_tick_whose_claim_took_too_long_is_skipped(
    world: World, pod: Pod, clock: Clock, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = TickClaims.claim

    async def claim_late(*arguments: Any, **options: Any) -> int | ClaimRefusal:
        claimed = await claim(*arguments, **options)
        clock.now_s += 2 * TOLERANCE_S
        return claimed

    monkeypatch.setattr(TickClaims, "claim", claim_late)
    await prepare(world, MINUTELY)

    async with CronAdapter(world.broker, SETTINGS, clock=clock):
        await Cron(world, clock).pass_by(30)
        await log.wait_for("is skipped: it is too late to run it")

    assert pod.seen == []


async def test_an_adapter_whose_loop_failed_logs_it_and_is_not_ready(
    world: World, log: Log
) -> None:
    def broken() -> float:
        raise RuntimeError("the clock has no hands")

    async with CronAdapter(world.broker, SETTINGS, clock=broken) as adapter:
        await log.wait_for("sends no more ticks")
        assert not adapter.is_ready
