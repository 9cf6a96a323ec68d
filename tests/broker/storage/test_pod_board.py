"""The pod board: one process publishes, every process reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nats.aio.msg import Msg

from broker.nats.bus import Bus
from broker.storage.pod_board import BUCKET, PodBoard, open_pod_board
from kubefox.pod import IdleVersion, PodPhase, PodStatus
from tests.support.connecting import connect
from tests.support.nats import NatsServer

DIGEST = "a" * 32


def pod(name: str, phase: PodPhase) -> PodStatus:
    return PodStatus(id=name, app="order-app", component="api", hash=DIGEST, phase=phase)


async def wait_until(board: PodBoard, condition: Callable[[], bool]) -> None:
    seen = board.changes
    while not condition():
        seen = await board.wait_change(seen)


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


async def test_a_pod_has_a_replica_while_another_one_of_its_version_is_ready(bus: Bus) -> None:
    one, two = pod("api-1", PodPhase.READY), pod("api-2", PodPhase.STARTING)
    async with open_pod_board(bus) as board:
        await board.publish(one)
        await board.publish(two)
        await wait_until(board, lambda: len(board.statuses) == 2)

        assert not board.has_replica(one)
        assert board.has_replica(two)


async def test_an_idle_version_is_ready_and_has_no_pod(bus: Bus) -> None:
    idle_version = IdleVersion(app="order-app", component="api", hash=DIGEST, since_s=1)
    async with open_pod_board(bus) as writer, open_pod_board(bus) as reader:
        await writer.publish(idle_version)
        await wait_until(reader, lambda: reader.idle_versions == (idle_version,))
        assert reader.statuses == ()
        assert reader.ready_versions() == {idle_version.version}

        await writer.remove(idle_version.key)
        await wait_until(reader, lambda: not reader.idle_versions)
        assert reader.ready_versions() == frozenset()


async def test_a_board_that_is_opened_later_shows_all_entries(bus: Bus) -> None:
    async with open_pod_board(bus) as writer:
        await writer.publish(pod("api-1", PodPhase.READY))
        await writer.publish(pod("api-2", PodPhase.READY))
        await writer.remove(pod("api-2", PodPhase.READY).key)

        async with open_pod_board(bus) as reader:
            assert [status.id for status in reader.statuses] == ["api-1"]


async def test_delete_markers_of_removed_entries_expire(bus: Bus) -> None:
    written: list[bytes] = []

    async def note(message: Msg) -> None:
        written.append(message.data)

    async with open_pod_board(bus, marker_s=1) as board:
        await bus._client.subscribe(f"$KV.{BUCKET}.>", cb=note)
        for number in range(3):
            status = pod(f"api-{number}", PodPhase.READY)
            await board.publish(status)
            await board.remove(status.key)
        # The first one may expire before the last one is written.
        while written.count(b"") < 3:
            await bus.flush()

        bucket = await bus.jetstream().key_value(BUCKET)
        while (await bucket.status()).values:
            await asyncio.sleep(0.1)


async def test_after_a_restart_of_nats_the_board_follows_again(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    async with open_pod_board(bus) as board:
        await board.publish(pod("api-1", PodPhase.READY))
        await wait_until(board, lambda: len(board.statuses) == 1)

        await asyncio.to_thread(own_nats_server.restart)
        async with connect(own_nats_server.url, process_id="other") as other:
            bucket = await other.jetstream().key_value(BUCKET)
            await bucket.purge(pod("api-1", PodPhase.READY).key)

        await wait_until(board, lambda: not board.statuses)


async def test_an_unreadable_entry_is_ignored(bus: Bus) -> None:
    async with open_pod_board(bus) as board:
        bucket = await bus.jetstream().key_value(BUCKET)
        await bucket.put("order-app.api.x.broken", b"{")
        await board.publish(pod("api-1", PodPhase.READY))

        await wait_until(board, lambda: len(board.statuses) == 1)

        async with open_pod_board(bus) as later:
            assert [status.id for status in later.statuses] == ["api-1"]
