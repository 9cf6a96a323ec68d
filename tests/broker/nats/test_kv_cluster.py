"""A KV bucket in a cluster of three servers: a read has all writes that were done before it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest

from broker.nats import kv_reads, leader_reads
from broker.nats.bus import Bus
from broker.nats.kv import KvBucket
from tests.support.nats_cluster import NatsCluster, nats_cluster, stream_info

WRITES = 30
ROUNDS = 150
OTHERS, OTHER = 6, b"x" * 2_000
"""Writes of any process just before each read, so that copies lag."""
READS = 40
SOON_S = 120
NAME = "things"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NatsCluster]:
    async with nats_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
async def buses(cluster: NatsCluster) -> AsyncIterator[Sequence[Bus]]:
    """A connection to each server."""
    async with contextlib.AsyncExitStack() as stack:
        found: dict[str, Bus] = {}
        async with asyncio.timeout(SOON_S):
            # A client chooses a server at random.
            while len(found) < len(cluster.servers):
                bus = await stack.enter_async_context(cluster.connect(f"process-{len(found)}"))
                found.setdefault(bus.server, bus)
        yield list(found.values())


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Wait for a leader and for copies that stand still, instead of reading what there is."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(leader_reads, "LEADER_S", SOON_S)
        patched.setattr(kv_reads, "_LAG_S", SOON_S)
        yield


@pytest.fixture
def patient() -> Iterator[None]:
    """Have patience in the whole test: no server dies."""
    with patience():
        yield


@pytest.fixture
def buckets(buses: Sequence[Bus]) -> Sequence[KvBucket]:
    return [KvBucket(bus, NAME) for bus in buses]


async def keys_after(bucket: KvBucket, revision: int, pattern: str = ">") -> list[str]:
    entries, _ = await bucket.page(pattern, revision, max_entries=1_000, max_bytes=1 << 20)
    return [entry.key for entry in entries]


async def write_everywhere(buckets: Sequence[KvBucket]) -> None:
    """Write an entry, and return when all copies have it."""
    await buckets[0].put("key", b"value")
    with patience():
        for bucket in buckets:
            assert await keys_after(bucket, 0) == ["key"]


@pytest.mark.usefixtures("patient")
async def test_an_entry_and_a_page_that_are_read_have_the_writes_before(
    buckets: Sequence[KvBucket],
) -> None:
    lost: list[str] = []
    for number in range(ROUNDS):
        for pair, (writer, reader) in enumerate(product(buckets, repeat=2)):
            key = f"key.{number}-{pair}"
            await asyncio.gather(
                *(buckets[(number + n) % 3].put(f"other.{n}", OTHER) for n in range(OTHERS))
            )
            revision = await writer.put(key, b"value", 0)

            if number % 2:
                is_found = await reader.get(key) is not None
            else:
                is_found = await keys_after(reader, revision - 1, "key.>") == [key]
            if not is_found:
                lost.append(key)

    assert lost == []


@pytest.mark.usefixtures("patient")
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


@pytest.mark.usefixtures("patient")
async def test_the_first_writes_and_reads_of_several_processes_at_once_all_succeed(
    buckets: Sequence[KvBucket],
) -> None:
    assert await asyncio.gather(*(keys_after(bucket, 0) for bucket in buckets)) == [[]] * 3

    numbered = list(enumerate(buckets))
    await asyncio.gather(*(bucket.put(f"key.{number}", b"value") for number, bucket in numbered))

    found = await asyncio.gather(*(keys_after(bucket, 0) for bucket in buckets))
    assert [set(keys) for keys in found] == [{"key.0", "key.1", "key.2"}] * 3


async def test_without_a_leader_the_other_copies_are_read(
    cluster: NatsCluster, buses: Sequence[Bus], buckets: Sequence[KvBucket]
) -> None:
    await write_everywhere(buckets)
    leader = cluster.named((await stream_info(buses[0], f"KV_{NAME}"))["cluster"]["leader"])
    (_, reader), *_ = (
        each
        for each in zip(buses, buckets, strict=True)
        if cluster.at(each[0].server) is not leader
    )

    await asyncio.to_thread(leader.kill)

    for _ in range(READS):
        assert await reader.get("key") is not None


async def test_reads_wait_for_the_next_connection_when_the_own_server_dies(
    cluster: NatsCluster, buses: Sequence[Bus], buckets: Sequence[KvBucket]
) -> None:
    await write_everywhere(buckets)

    await asyncio.to_thread(cluster.at(buses[0].server).kill)
    # nats-py notices it in the next turns of the loop.
    entry, keys = await asyncio.gather(buckets[0].get("key"), keys_after(buckets[0], 0))

    assert entry is not None
    assert keys == ["key"]
