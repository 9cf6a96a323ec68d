"""Cron against a real NATS: the clock is moved by hand, but for the test of the timer itself."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from adapters.cron import CronAdapter
from adapters.cron_schedule import TOLERANCE_S
from broker.broker import Broker
from broker.pour import Streamed
from model.component import ComponentDefinition, Schedule
from model.context import unseal
from model.errors import ComponentFailed
from model.event import EventType
from tests.adapters.ticking import (
    APP,
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
from tests.adapters.world import SETTINGS, World, open_test_broker
from tests.support.nats import NatsServer


@pytest.fixture
def log() -> Iterator[Log]:
    handler = Log()
    logger = logging.getLogger("adapters.cron")
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


async def test_a_tick_is_a_genesis_event_that_tells_its_time(cron: Cron, pod: Pod) -> None:
    await cron.pass_by(30)

    event = await pod.next_event()

    assert event.id == event.genesis_id
    assert (event.type, event.source) == (EventType.CRON, "adapter/cron")
    assert event.handler == MINUTELY.id
    assert event.params == {"tick": FIRST_TICK}
    context = unseal(event.context, await cron.world.broker.store.platform_key())
    assert (context.deployment, context.virtual_environment) == ("order-app-v1", "team-a")


async def test_each_released_environment_has_its_own_ticks(cron: Cron, pod: Pod) -> None:
    key = await cron.world.broker.store.platform_key()
    await cron.world.virtual("team-b")
    await cron.world.virtual("not-released")
    await cron.world.release("team-b", APP, "order-app-v1")

    await cron.pass_by(30)
    first = [await pod.next_event() for _ in range(2)]
    await cron.pass_by(60)
    second = [await pod.next_event() for _ in range(2)]

    for events in (first, second):
        assert sorted(in_environment(each, key) for each in events) == ["team-a", "team-b"]
    assert len(pod.seen) == 4


async def test_of_several_adapters_one_sends_each_tick(
    cron: Cron, pod: Pod, own_nats_server: NatsServer
) -> None:
    async with (
        open_test_broker(own_nats_server.url, "broker-2") as second,
        open_test_broker(own_nats_server.url, "broker-3") as third,
        CronAdapter(second, SETTINGS, clock=cron.clock),
        CronAdapter(third, SETTINGS, clock=cron.clock),
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
        open_test_broker(own_nats_server.url, "broker-2") as second,
        CronAdapter(world.broker, SETTINGS),
        CronAdapter(second, SETTINGS),
    ):
        ticks: set[str] = set()
        # The last few seconds are made up, so more than those have to come.
        while len(ticks) < TOLERANCE_S + 2:
            ticks |= set(await pod.ticks(1))

    counts = Counter(each.params["tick"] for each in pod.seen)
    assert set(counts.values()) == {1}
    in_order = sorted(counts)
    assert [each.params["tick"] for each in pod.seen] == in_order


async def test_a_release_starts_ticks_and_its_end_stops_them(cron: Cron, pod: Pod) -> None:
    world = cron.world
    await world.withdraw("team-a")
    await cron.pass_by(30)
    await world.release("team-a", APP, "order-app-v1")

    await cron.pass_by(60)

    assert await pod.ticks(1) == [SECOND_TICK]


async def test_a_new_release_of_the_same_schedule_neither_repeats_nor_skips_a_tick(
    cron: Cron, pod: Pod
) -> None:
    await cron.pass_by(30)
    first = await pod.ticks(1)
    await cron.world.deploy(
        "order-app-v2",
        APP,
        ComponentDefinition(name="order-worker", schedules=(MINUTELY,)),
        ComponentDefinition(name="review"),
    )
    await cron.world.release("team-a", APP, "order-app-v2")

    await cron.pass_by(60)

    assert first + await pod.ticks(1) == [FIRST_TICK, SECOND_TICK]
    assert len(pod.seen) == 2


async def test_a_tick_is_skipped_while_the_one_before_it_runs(
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
        assert SECOND_TICK in await log.wait_for("is skipped: the tick before it still runs")
        pod.gate.set()
    await cron.pass_by(30)
    async with CronAdapter(world.broker, patient, clock=clock):
        await cron.pass_by(30)
        assert await pod.ticks(1) == [THIRD_TICK]


async def test_a_moments_ticks_are_made_up_after_a_restart_and_older_ones_are_not(
    world: World, pod: Pod, clock: Clock
) -> None:
    await prepare(world, MINUTELY)
    clock.now_s += 60 * 10 + 30 + TOLERANCE_S - 1

    async with CronAdapter(world.broker, SETTINGS, clock=clock):
        made_up = await pod.ticks(1)

    assert made_up == ["2026-03-01T12:11:00+00:00"]
    assert len(pod.seen) == 1


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
    line = await log.wait_for("was answered 500")
    assert event.id in line
    assert "order-worker@aaaaaaaaaaaa in team-a" in line


async def test_a_tick_that_finds_no_pod_is_sent_again(
    cron: Cron, broker: Broker, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "adapters.cron")
    await cron.pass_by(30)
    await log.wait_for("waits for a pod")

    pod = Pod()
    async with serving(broker, pod):
        assert await pod.ticks(1) == [FIRST_TICK]


async def test_without_a_pod_the_tick_is_lost_in_the_end_and_the_next_one_comes(
    cron: Cron, broker: Broker, log: Log
) -> None:
    await cron.pass_by(30)
    await cron.pass_by(TOLERANCE_S)
    await log.wait_for("no pod of order-worker")

    pod = Pod()
    async with serving(broker, pod):
        await cron.pass_by(60 - TOLERANCE_S)
        assert await pod.ticks(1) == [SECOND_TICK]


async def test_a_tick_lasts_as_long_as_what_it_is_answered_with(
    cron: Cron, world: World, pod: Pod
) -> None:
    ended = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"
        ended.set()

    pod.stream = Streamed(chunks())

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


async def test_leaving_waits_for_the_tick_that_runs(world: World, pod: Pod, clock: Clock) -> None:
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


async def test_leaving_gives_up_on_a_tick_after_the_time_for_draining(
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


async def test_ticks_that_waited_too_long_for_the_one_before_are_skipped(
    world: World, pod: Pod, clock: Clock, log: Log
) -> None:
    await prepare(world, Schedule(id=0, cron="@every 1s"))
    pod.gate.clear()

    async with CronAdapter(world.broker, SETTINGS, clock=clock):
        await pod.ticks(1)
        clock.now_s += 2 * TOLERANCE_S
        pod.gate.set()
        await log.wait_for("is skipped: its time has passed")

    assert len(pod.seen) == 1


async def test_an_adapter_that_broke_says_so_and_is_not_ready(world: World, log: Log) -> None:
    def broken() -> float:
        raise RuntimeError("the clock has no hands")

    async with CronAdapter(world.broker, SETTINGS, clock=broken) as adapter:
        await log.wait_for("has stopped")
        assert not adapter.is_ready
