"""The health of streams and buckets: copies, leaders, and what is missing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from broker.nats.bus import Bus, connect
from broker.nats.jetstream import ensure_bucket
from broker.nats.stream_health import check_streams
from kubefox.status import Check, CheckState
from tests.support.nats_cluster import nats_cluster

BUCKET = "kubefox-records"


def detail_of(check: Check) -> str:
    return check.items[0].detail


async def test_a_bucket_on_one_server_is_well(bus: Bus) -> None:
    await ensure_bucket(bus, BUCKET)

    check = await check_streams(bus)

    assert check.state is CheckState.OK
    assert [(item.name, item.detail) for item in check.items] == [(f"bucket {BUCKET}", "1 copy")]


async def test_streams_are_listed_also_after_the_leader_of_the_cluster_has_died(
    tmp_path: Path,
) -> None:
    async with (
        nats_cluster(tmp_path) as cluster,
        connect(cluster.url, process_id="process") as bus,
    ):
        await ensure_bucket(bus, BUCKET)

        # One of the three servers leads, and answers which streams there are.
        for server in cluster.servers:
            await asyncio.to_thread(server.kill)
            assert await check_streams(bus)
            await asyncio.to_thread(server.start)
            await cluster.wait_formed()


async def test_a_missing_copy_is_named_with_its_server(tmp_path: Path) -> None:
    async with (
        nats_cluster(tmp_path) as cluster,
        connect(cluster.servers[0].url, process_id="process") as bus,
    ):
        await ensure_bucket(bus, BUCKET)
        # A copy that is new is behind for a moment.
        while (whole := await check_streams(bus)).state is not CheckState.OK:
            await asyncio.sleep(0.1)
        await asyncio.to_thread(cluster.servers[2].kill)

        # The others notice it when it has missed their heartbeats, and may choose another leader.
        while "copy on server-2 is behind or gone" not in detail_of(
            lost := await check_streams(bus)
        ):
            await asyncio.sleep(0.1)

    assert "3 copies, leader server-" in whole.items[0].detail
    assert lost.state is CheckState.DEGRADED
