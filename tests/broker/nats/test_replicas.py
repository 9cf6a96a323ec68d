"""A cluster keeps copies of each stream and bucket; three real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.js import api

from broker.events.outbox import STREAM, ensure_outbox
from broker.nats.bus import Bus, connect
from broker.nats.jetstream import ensure_bucket
from broker.nats.replicas import create_replicated, keep_replicated, raise_replicas
from broker.storage import bundles
from kubefox.errors import NatsUnavailable
from tests.support.nats import NatsServer
from tests.support.nats_cluster import NatsCluster, nats_cluster, stream_info

BUCKET = "kubefox-records"
RECORDS = f"KV_{BUCKET}"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NatsCluster]:
    async with nats_cluster(tmp_path) as cluster:
        yield cluster


async def replicas(bus: Bus, stream: str) -> int:
    return int((await stream_info(bus, stream))["config"]["num_replicas"])


async def wait_for_replicas(bus: Bus, stream: str, count: int) -> None:
    while await replicas(bus, stream) != count:
        await asyncio.sleep(0.05)


async def test_new_streams_and_buckets_have_a_copy_on_each_of_three_servers(
    cluster: NatsCluster,
) -> None:
    async with connect(cluster.url, process_id="process") as bus:
        await ensure_bucket(bus, BUCKET, history=5)
        await bundles.open_bundles(bus)
        await ensure_outbox(bus)

        for stream in (RECORDS, f"OBJ_{bundles.BUCKET}", STREAM):
            assert await replicas(bus, stream) == 3


async def test_a_setting_makes_fewer_copies(cluster: NatsCluster) -> None:
    async with connect(cluster.url, process_id="process") as bus:
        bus.replicas = 1

        await ensure_bucket(bus, BUCKET)

        assert await replicas(bus, RECORDS) == 1


async def test_more_copies_than_servers_are_refused_with_the_settings_name(
    cluster: NatsCluster,
) -> None:
    async with connect(cluster.url, process_id="process") as bus:
        bus.replicas = 5

        with pytest.raises(NatsUnavailable, match="FOX_NATS_REPLICAS"):
            await ensure_bucket(bus, BUCKET)


async def test_a_single_server_keeps_one_copy(own_nats_server: NatsServer) -> None:
    async with connect(own_nats_server.url, process_id="process") as bus:
        await ensure_bucket(bus, BUCKET)

        assert await replicas(bus, RECORDS) == 1
        assert not await raise_replicas(bus)


async def test_a_refusal_for_another_reason_is_not_tried_with_fewer_copies(
    own_nats_server: NatsServer,
) -> None:
    tried: list[int] = []

    async def make(count: int) -> None:
        tried.append(count)
        config = api.StreamConfig(name="bad", subjects=["$JS.API.>"], num_replicas=1)
        await bus.jetstream().add_stream(config)

    async with connect(own_nats_server.url, process_id="process") as bus:
        with pytest.raises(Exception, match="subjects"):
            await create_replicated(bus, make)

    assert tried == [3]


async def test_streams_get_more_copies_when_the_cluster_grows(tmp_path: Path) -> None:
    async with (
        nats_cluster(tmp_path, running=2) as cluster,
        connect(cluster.url, process_id="process") as bus,
    ):
        bucket = await ensure_bucket(bus, BUCKET, history=7)
        await bucket.put("key", b"value")
        assert await replicas(bus, RECORDS) == 2
        async with keep_replicated(bus, check_s=0.1):
            await cluster.start(2)
            await wait_for_replicas(bus, RECORDS, 3)

        config = (await stream_info(bus, RECORDS))["config"]
        assert config["max_msgs_per_subject"] == 7
        assert (await bucket.get("key")).value == b"value"


async def test_streams_of_others_are_left_alone(cluster: NatsCluster) -> None:
    async with connect(cluster.url, process_id="process") as bus:
        await bus.jetstream().add_stream(name="orders", subjects=["orders"], num_replicas=1)
        bus.replicas = 1
        await ensure_bucket(bus, BUCKET)
        bus.replicas = 0

        # While a leader is being elected, a server is not counted.
        while await replicas(bus, RECORDS) != 3:
            assert await raise_replicas(bus)

        assert await replicas(bus, "orders") == 1
