"""A client of a cluster of three real servers, one of which fails."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.nats.bus import connect
from broker.nats.cluster_start import wait_for_leader
from kubefox.errors import NatsUnavailable
from tests.support.nats import NatsServer
from tests.support.nats_cluster import NatsCluster, nats_cluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NatsCluster]:
    async with nats_cluster(tmp_path) as cluster:
        yield cluster


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_client_leaves_a_server_that_is_killed_or_hangs(
    cluster: NatsCluster, how: signal.Signals
) -> None:
    reconnected = asyncio.Event()

    async def note() -> None:
        reconnected.set()

    # The first server of the list is not always the first that is tried.
    async with connect(cluster.url, process_id="process") as bus:
        bus.on_reconnect(note)
        failed = cluster.at(bus.server)
        os.kill(failed.pid, how)

        await reconnected.wait()

        assert cluster.at(bus.server) is not failed


async def test_the_first_start_waits_until_the_cluster_has_a_majority(tmp_path: Path) -> None:
    cluster = NatsCluster(tmp_path, 3)
    try:
        await cluster.start(0)
        async with connect(cluster.url, process_id="process") as bus:
            waiting = asyncio.create_task(wait_for_leader(bus, "KV_kubefox"))
            done, _ = await asyncio.wait([waiting], timeout=3)
            assert not done

            await cluster.start(1)

            await waiting
    finally:
        await cluster.stop_all()


async def test_a_single_server_has_a_leader_at_once(own_nats_server: NatsServer) -> None:
    async with connect(own_nats_server.url, process_id="process") as bus:
        await wait_for_leader(bus, "KV_kubefox")


async def test_a_server_that_accepts_small_messages_only_is_refused_with_the_cure(
    tmp_path: Path,
) -> None:
    with (
        NatsServer(tmp_path, "max_payload: 64KB") as server,
        pytest.raises(NatsUnavailable, match="set `max_payload` of nats-server to 1048576"),
    ):
        async with connect(server.url, process_id="process"):
            pass


async def test_a_client_leaves_a_server_that_does_not_take_what_is_written(
    cluster: NatsCluster,
) -> None:
    reconnected = asyncio.Event()

    async def note() -> None:
        reconnected.set()

    async with connect(cluster.url, process_id="process") as bus:
        bus.on_reconnect(note)
        failed = cluster.at(bus.server)
        os.kill(failed.pid, signal.SIGSTOP)
        # The first bytes fill the buffers of the kernel, which grow for a moment.
        for _ in range(3):
            while bus.send("subject", bytes(512 << 10)):
                await asyncio.sleep(0)
            await asyncio.sleep(0.5)

        await reconnected.wait()

        assert cluster.at(bus.server) is not failed
