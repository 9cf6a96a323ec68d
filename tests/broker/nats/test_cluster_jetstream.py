"""Writes and reads of a cluster whose servers die: none fails, and none is done twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from nats.js import api
from nats.js.errors import (
    KeyWrongLastSequenceError,
    NoKeysError,
    NoStreamResponseError,
    ServiceUnavailableError,
)
from nats.js.kv import KeyValue

from broker.events.outbox import ensure_outbox
from broker.nats import cluster_jetstream
from broker.nats.bus import Bus, connect
from broker.nats.entry_buffer import WatchedEntry
from broker.nats.jetstream import ensure_bucket
from broker.nats.stream_publisher import StreamPublisher
from broker.nats.watch import EntryBatches, watch_bucket
from tests.support.nats_cluster import NatsCluster, nats_cluster, stream_info

SOON_S = 120


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NatsCluster]:
    async with nats_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow elections that a slow machine makes longer."""
    patient = partial(cluster_jetstream.Attempts, timeout_s=SOON_S)
    monkeypatch.setattr(cluster_jetstream, "Attempts", patient)


class SeenKeys:
    """The keys that a watch has seen."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    async def replace(self, batches: EntryBatches) -> None:
        self.keys |= {entry.key async for batch in batches for entry in batch}

    async def apply(self, entry: WatchedEntry) -> None:
        self.keys.add(entry.key)


async def fail_leader(cluster: NatsCluster, bus: Bus, stream: str, how: signal.Signals) -> None:
    leader = (await stream_info(bus, stream))["cluster"]["leader"]
    os.kill(cluster.named(leader).pid, how)


async def values(bucket: KeyValue, key: str, count: int) -> list[bytes | None]:
    """Return all values that a key has had, as soon as there are ``count``."""
    found: list[bytes | None] = []
    async with asyncio.timeout(SOON_S):
        while len(found) < count:
            # The server that hangs may have led the cluster too: until another one does, which
            # takes longer than nats-py waits, no consumer is made. A copy may lack the latest
            # writes.
            with contextlib.suppress(TimeoutError, ServiceUnavailableError, NoKeysError):
                found = [entry.value for entry in await bucket.history(key)]
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_writes_that_hit_a_leader_change_are_all_done_once(
    cluster: NatsCluster, how: signal.Signals
) -> None:
    async with connect(cluster.url, process_id="writer") as bus:
        bucket = await ensure_bucket(bus, "writes", history=64)
        revision = await bucket.create("key", b"0")
        written = [b"0"]

        for number in range(1, 40):
            if number == 10:
                await fail_leader(cluster, bus, "KV_writes", how)
            value = str(number).encode()
            revision = await bucket.update("key", value, revision)
            written.append(value)

        assert await values(bucket, "key", len(written)) == written
        with pytest.raises(KeyWrongLastSequenceError):
            await bucket.update("key", b"late", revision - 1)


async def test_an_emitted_event_is_stored_once_although_the_leader_dies(
    cluster: NatsCluster,
) -> None:
    async with connect(cluster.url, process_id="writer") as bus:
        await ensure_outbox(bus)
        publisher = StreamPublisher(bus)

        for number in range(20):
            if number == 5:
                await fail_leader(cluster, bus, "kubefox-events", signal.SIGKILL)
            stored = await publisher.publish(
                "emit.shop.api.a", str(number).encode(), timeout_s=SOON_S
            )
            assert stored is not None
            assert not stored.duplicate

        assert (await stream_info(bus, "kubefox-events"))["state"]["messages"] == 20


async def test_a_write_to_a_stream_that_does_not_exist_fails_at_once(
    cluster: NatsCluster,
) -> None:
    async with connect(cluster.url, process_id="writer") as bus:
        with pytest.raises(NoStreamResponseError):
            await bus.jetstream().publish("$KV.missing.key", b"", headers={})


async def test_an_entry_is_read_during_a_leader_change(cluster: NatsCluster) -> None:
    async with connect(cluster.url, process_id="reader") as bus:
        bucket = await ensure_bucket(bus, "reads")
        await bucket.put("key", b"value")
        await fail_leader(cluster, bus, "KV_reads", signal.SIGKILL)

        entry = await bucket.get("key")

        assert entry.value == b"value"
        info: api.StreamInfo = await bus.jetstream().stream_info("KV_reads")
        assert info.state.messages == 1


async def test_a_watch_sees_changes_after_the_server_of_its_consumer_died(
    cluster: NatsCluster,
) -> None:
    async with connect(cluster.url, process_id="other") as bus:
        bucket, replica = await ensure_bucket(bus, "watched"), SeenKeys()
        async with watch_bucket(bus, "watched", replica):
            (consumer,) = await bus.jetstream().consumers_info("KV_watched")
            assert consumer.cluster is not None
            failed = cluster.named(consumer.cluster.leader or "")
            os.kill(failed.pid, signal.SIGKILL)
            await bucket.put("late", b"value")

            while "late" not in replica.keys:
                await asyncio.sleep(0.01)
