"""The health of streams and buckets: copies, leaders, and what is missing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from broker.nats import stream_config
from broker.nats.bus import Bus, connect
from broker.nats.cluster_jetstream import Attempts
from broker.nats.credentials.permissions import Role
from broker.nats.jetstream import ensure_bucket
from broker.nats.stream_health import check_streams
from fox.nats_keys import open_nats_keys
from kubefox.errors import DeadlineExceeded
from kubefox.status import Check, CheckState
from tests.support.nats import NatsServer
from tests.support.nats_cluster import nats_cluster, stream_info

BUCKET = "kubefox"
SOON_S = 120


def detail_of(check: Check) -> str:
    return check.items[0].detail


async def check_until(bus: Bus, is_reached: Callable[[Check], bool]) -> Check:
    """Return the health as soon as it is as wanted; new copies are behind for a moment."""
    while True:
        with contextlib.suppress(DeadlineExceeded):  # There is no leader for a moment.
            if is_reached(check := await check_streams(bus)):
                return check
        await asyncio.sleep(0.1)


async def test_a_bucket_on_one_server_is_well(bus: Bus) -> None:
    await ensure_bucket(bus, BUCKET)

    check = await check_streams(bus)

    assert check.state is CheckState.OK
    assert [(item.name, item.detail) for item in check.items] == [(f"bucket {BUCKET}", "1 copy")]


async def test_streams_are_listed_also_after_the_leader_of_the_cluster_has_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An election is longer on a slow machine.
    monkeypatch.setattr(stream_config, "Attempts", partial(Attempts, timeout_s=SOON_S))
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
        await check_until(bus, lambda check: check.state is CheckState.OK)
        await asyncio.to_thread(cluster.servers[2].kill)

        # The others notice it when it has missed their heartbeats, and may choose another leader.
        lost = await check_until(
            bus, lambda check: "copy on server-2 is behind or gone" in detail_of(check)
        )

    assert lost.state is CheckState.DEGRADED


async def test_each_bucket_is_named_with_its_copies_and_its_leader(tmp_path: Path) -> None:
    async with (
        nats_cluster(tmp_path) as cluster,
        connect(cluster.url, process_id="process") as bus,
    ):
        await ensure_bucket(bus, BUCKET)

        check = await check_until(bus, lambda check: check.state is CheckState.OK)

        [item] = check.items
        leader = (await stream_info(bus, f"KV_{BUCKET}"))["cluster"]["leader"]
    assert item.facts == {"replicas": 3, "leader": leader}
    assert item.detail == f"3 copies, leader {leader}"


@pytest.mark.parametrize(
    ("setting", "state", "reason"),
    [
        (0, CheckState.DEGRADED, "the log of control says why"),
        (1, CheckState.OFF, "(FOX_NATS_REPLICAS)"),
    ],
)
async def test_fewer_copies_than_the_servers_can_keep_are_told(
    tmp_path: Path, setting: int, state: CheckState, reason: str
) -> None:
    async with (
        nats_cluster(tmp_path, keys=await asyncio.to_thread(open_nats_keys, tmp_path)) as cluster,
        cluster.connect("process", Role.CONTROL) as bus,
    ):
        bus.replicas = 1
        await ensure_bucket(bus, BUCKET)
        bus.replicas = setting

        # A server that answers late is not counted.
        check = await check_until(bus, lambda check: "the servers can keep 3" in detail_of(check))

    [item] = check.items
    assert item.state is state
    assert "1 copy, leader server-" in item.detail
    assert reason in item.detail
    assert not bus.forbidden.count


async def test_a_platform_whose_records_are_lost_is_degraded(own_nats_server: NatsServer) -> None:
    async with connect(own_nats_server.url, process_id="process") as bus:
        check = await check_streams(bus)

    assert check.state is CheckState.DEGRADED
    assert check.items[0].name == "bucket kubefox"
    assert "restore a backup" in check.items[0].detail
