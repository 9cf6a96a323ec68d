"""The pod board: one process publishes, every process reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from broker import bus as buses
from broker import pod_board
from broker.bus import Bus
from broker.pod_board import BUCKET, PodBoard, open_pod_board
from model.pod import PodPhase, PodStatus, Sleeper
from tests.support.nats import NatsServer

DIGEST = "a" * 32


def pod(name: str, phase: PodPhase) -> PodStatus:
    return PodStatus(id=name, app="order-app", component="api", hash=DIGEST, phase=phase)


async def wait_until(board: PodBoard, condition: Callable[[], bool]) -> None:
    seen = board.changes
    while not condition():
        seen = await board.wait_change(seen)


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="test") as bus:
        yield bus


async def test_a_version_is_ready_while_one_of_its_pods_is(bus: Bus) -> None:
    async with open_pod_board(bus) as writer, open_pod_board(bus) as reader:
        await writer.publish(pod("api-1", PodPhase.STARTING))
        await wait_until(reader, lambda: len(reader.statuses) == 1)
        assert reader.ready_versions() == frozenset()

        await writer.publish(pod("api-2", PodPhase.READY))
        await wait_until(reader, lambda: len(reader.statuses) == 2)
        assert reader.ready_versions() == {("order-app", "api", DIGEST)}

        await writer.remove(pod("api-2", PodPhase.READY).key)
        await wait_until(reader, lambda: len(reader.statuses) == 1)
        assert reader.ready_versions() == frozenset()


async def test_a_version_that_sleeps_counts_as_ready_and_as_no_pod(bus: Bus) -> None:
    sleeper = Sleeper(app="order-app", component="api", hash=DIGEST, since_s=1)
    async with open_pod_board(bus) as writer, open_pod_board(bus) as reader:
        await writer.publish(sleeper)
        await wait_until(reader, lambda: reader.sleepers == (sleeper,))
        assert reader.statuses == ()
        assert reader.ready_versions() == {sleeper.version}

        await writer.remove(sleeper.key)
        await wait_until(reader, lambda: not reader.sleepers)
        assert reader.ready_versions() == frozenset()


async def test_a_board_opened_later_shows_what_is_there(bus: Bus) -> None:
    async with open_pod_board(bus) as writer:
        await writer.publish(pod("api-1", PodPhase.READY))
        await writer.publish(pod("api-2", PodPhase.READY))
        await writer.remove(pod("api-2", PodPhase.READY).key)

        async with open_pod_board(bus) as reader:
            assert [status.id for status in reader.statuses] == ["api-1"]


async def test_pods_that_are_no_more_leave_nothing_for_good(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_board, "MARKER_S", 1)
    async with open_pod_board(bus) as board:
        for number in range(3):
            status = pod(f"api-{number}", PodPhase.READY)
            await board.publish(status)
            await board.remove(status.key)
        bucket = await bus.jetstream().key_value(BUCKET)
        left = (await bucket.status()).values

        async with asyncio.timeout(10):
            while (await bucket.status()).values:
                await asyncio.sleep(0.1)

    assert left == 3


async def test_after_a_restart_of_nats_the_board_follows_again(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    async with open_pod_board(bus) as board:
        await board.publish(pod("api-1", PodPhase.READY))
        await wait_until(board, lambda: len(board.statuses) == 1)

        await asyncio.to_thread(own_nats_server.restart)
        async with buses.connect(own_nats_server.url, process_id="other") as other:
            bucket = await other.jetstream().key_value(BUCKET)
            await bucket.purge(pod("api-1", PodPhase.READY).key)

        await wait_until(board, lambda: not board.statuses)


async def test_an_entry_that_cannot_be_read_is_passed_over(bus: Bus) -> None:
    async with open_pod_board(bus) as board:
        bucket = await bus.jetstream().key_value(BUCKET)
        await bucket.put("order-app.api.x.broken", b"{")
        await board.publish(pod("api-1", PodPhase.READY))

        await wait_until(board, lambda: len(board.statuses) == 1)

        async with open_pod_board(bus) as later:
            assert [status.id for status in later.statuses] == ["api-1"]
