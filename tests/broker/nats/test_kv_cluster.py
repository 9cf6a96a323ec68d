"""A KV bucket in a cluster of three servers: a read has all writes that were done before it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from broker.nats.bus import connect
from broker.nats.kv import KvBucket
from tests.support.nats_cluster import NatsCluster, nats_cluster

WRITES = 200
ALL = ">"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NatsCluster]:
    async with nats_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
async def buckets(cluster: NatsCluster) -> AsyncIterator[Sequence[KvBucket]]:
    """The same bucket on several connections."""
    async with contextlib.AsyncExitStack() as stack:
        connecting = [connect(cluster.url, process_id=f"process-{number}") for number in range(3)]
        yield [KvBucket(await stack.enter_async_context(each), "things") for each in connecting]


async def keys_after(bucket: KvBucket, revision: int) -> list[str]:
    entries, _ = await bucket.page(ALL, revision, max_entries=WRITES, max_bytes=1 << 20)
    return [entry.key for entry in entries]


async def test_an_entry_and_a_page_that_are_read_have_the_writes_before(
    buckets: Sequence[KvBucket],
) -> None:
    writer, *readers = buckets
    for number in range(WRITES):
        key, reader = f"key.{number}", readers[number % len(readers)]
        revision = await writer.put(key, b"value", 0)

        assert await reader.get(key) is not None
        assert await keys_after(reader, revision - 1) == [key]


async def test_a_page_ends_although_the_latest_entry_is_deleted_meanwhile(
    buckets: Sequence[KvBucket],
) -> None:
    writer, reader, _ = buckets
    await writer.put("kept", b"value")

    async def come_and_go() -> None:
        for number in range(WRITES):
            await writer.put(f"gone.{number}", b"value")
            await writer.delete(f"gone.{number}")

    changing = asyncio.create_task(come_and_go())
    while not changing.done():
        assert "kept" in await keys_after(reader, 0)
    await changing


async def test_the_first_writes_and_reads_of_several_processes_at_once_all_succeed(
    cluster: NatsCluster, buckets: Sequence[KvBucket]
) -> None:
    assert await asyncio.gather(*(keys_after(bucket, 0) for bucket in buckets)) == [[]] * 3

    numbered = list(enumerate(buckets))
    await asyncio.gather(*(bucket.put(f"key.{number}", b"value") for number, bucket in numbered))

    found = await asyncio.gather(*(keys_after(bucket, 0) for bucket in buckets))
    assert [set(keys) for keys in found] == [{"key.0", "key.1", "key.2"}] * 3
