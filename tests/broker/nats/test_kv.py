"""A KV bucket for plain data, on a real JetStream."""

from __future__ import annotations

import asyncio

import pytest

from broker.nats.bus import Bus
from broker.nats.kv import KvBucket, KvEntry
from broker.nats.kv_reads import BucketReads
from kubefox.errors import NatsUnavailable, RevisionConflict
from tests.support.nats import NatsServer


@pytest.fixture
def bucket(bus: Bus) -> KvBucket:
    return KvBucket(bus, "things")


async def stored_messages(bus: Bus, bucket: str) -> int:
    info = await bus.jetstream().stream_info(f"KV_{bucket}")
    return info.state.messages


async def keep_silent(payload: bytes, reply: str) -> None:
    pass


async def read_all(bucket: KvBucket, pattern: str, max_entries: int) -> list[KvEntry]:
    entries: list[KvEntry] = []
    after: int | None = 0
    while after is not None:
        found, after = await bucket.page(
            pattern, after, max_entries=max_entries, max_bytes=1_000_000
        )
        assert len(found) <= max_entries
        entries += found
    return entries


async def test_a_bucket_that_does_not_exist_is_empty(bucket: KvBucket) -> None:
    assert await bucket.get("a") is None
    assert await bucket.page(">", 0, max_entries=10, max_bytes=1000) == ([], None)


async def test_the_first_write_creates_the_bucket(bucket: KvBucket) -> None:
    revision = await bucket.put("a", b"1")

    assert await bucket.get("a") == KvEntry("a", b"1", revision)


async def test_two_first_writes_at_once_both_succeed(bus: Bus) -> None:
    one, other = KvBucket(bus, "things"), KvBucket(bus, "things")

    revisions = await asyncio.gather(one.put("a", b"1"), other.put("b", b"2"))

    assert sorted(revisions) == [1, 2]


class CreatedAfterRead(BucketReads):
    """Reads of a bucket that another client creates just after one had no responder."""

    async def _exists(self) -> bool:
        await KvBucket(self._bus, self._bucket).put("a", b"1")
        return await super()._exists()


def created_after_read(bus: Bus, name: str) -> KvBucket:
    bucket = KvBucket(bus, name)
    bucket._reads = CreatedAfterRead(bus, name)
    return bucket


async def test_a_read_while_the_bucket_is_created_succeeds(bus: Bus) -> None:
    by_key, by_page = created_after_read(bus, "things"), created_after_read(bus, "others")

    entry = await by_key.get("a")
    page = await by_page.page(">", 0, max_entries=10, max_bytes=1000)

    assert entry == KvEntry("a", b"1", 1)
    assert page == ([KvEntry("a", b"1", 1)], None)


async def test_an_empty_value_is_a_value(bucket: KvBucket) -> None:
    revision = await bucket.put("a", b"")

    assert await bucket.get("a") == KvEntry("a", b"", revision)


async def test_a_write_with_the_wrong_revision_is_a_conflict(bucket: KvBucket) -> None:
    old = await bucket.put("a", b"1")
    new = await bucket.put("a", b"2", old)

    for wrong in (0, old, new + 1):
        with pytest.raises(RevisionConflict):
            await bucket.put("a", b"3", wrong)
        with pytest.raises(RevisionConflict):
            await bucket.delete("a", wrong)

    assert await bucket.get("a") == KvEntry("a", b"2", new)


async def test_a_create_succeeds_once_and_again_after_deletion(
    bucket: KvBucket,
) -> None:
    await bucket.put("a", b"1", 0)
    with pytest.raises(RevisionConflict):
        await bucket.put("a", b"2", 0)

    await bucket.delete("a")

    assert await bucket.put("a", b"3", 0)


async def test_a_create_overwrites_a_delete_marker(bus: Bus, bucket: KvBucket) -> None:
    await bucket.put("a", b"1")
    plain = await bus.jetstream().key_value("things")
    await plain.delete("a")

    assert await bucket.get("a") is None
    assert await read_all(bucket, ">", 10) == []
    revision = await bucket.put("a", b"2", 0)
    assert await bucket.get("a") == KvEntry("a", b"2", revision)


async def test_concurrent_creates_and_deletions_lose_nothing(bucket: KvBucket) -> None:
    await bucket.put("a", b"0")

    async def replace(value: bytes) -> bool:
        await bucket.delete("a")
        try:
            await bucket.put("a", value, 0)
        except RevisionConflict:
            return False
        return True

    won = await asyncio.gather(*(replace(b"%d" % number) for number in range(20)))

    assert any(won)
    entry = await bucket.get("a")
    assert entry is None or won[int(entry.value)]


async def test_a_deleted_key_leaves_nothing_behind(bus: Bus, bucket: KvBucket) -> None:
    for number in range(10):
        await bucket.put(f"a.{number}", b"x")
    for number in range(10):
        await bucket.delete(f"a.{number}")
    await bucket.delete("a.never-there")

    assert await stored_messages(bus, "things") == 0


async def test_pages_hold_every_entry_of_the_pattern_in_order_of_revision(
    bucket: KvBucket,
) -> None:
    for number in range(7):
        await bucket.put(f"mine.{number}", b"%d" % number)
        await bucket.put(f"yours.{number}", b"")
    await bucket.put("mine.0", b"again")
    await bucket.delete("mine.1")

    entries = await read_all(bucket, "mine.>", 2)

    assert [entry.key for entry in entries] == [f"mine.{n}" for n in (2, 3, 4, 5, 6, 0)]
    assert entries[-1].value == b"again"


async def test_a_page_over_its_bytes_has_one_entry(bucket: KvBucket) -> None:
    for number in range(5):
        await bucket.put(f"a.{number}", b"x" * 1000)

    page, after = await bucket.page(">", 0, max_entries=10, max_bytes=10)

    assert [entry.key for entry in page] == ["a.0"]
    assert after == page[0].revision


async def test_entries_survive_a_restart(
    bus: Bus, bucket: KvBucket, own_nats_server: NatsServer
) -> None:
    reconnected = asyncio.Event()

    async def note() -> None:
        reconnected.set()

    bus.on_reconnect(note)
    revision = await bucket.put("a", b"kept")

    await asyncio.to_thread(own_nats_server.restart)
    await reconnected.wait()

    assert await bucket.get("a") == KvEntry("a", b"kept", revision)
    assert await bucket.put("a", b"new", revision) > revision


async def test_without_a_connection_every_method_fails_at_once(
    bus: Bus, bucket: KvBucket, own_nats_server: NatsServer
) -> None:
    await bus.serve("silence", keep_silent)
    asked = asyncio.create_task(bus.request("silence", b"", timeout_s=60))
    await asyncio.to_thread(own_nats_server.stop)
    with pytest.raises(NatsUnavailable):
        await asked

    with pytest.raises(NatsUnavailable):
        await bucket.get("a")
    with pytest.raises(NatsUnavailable):
        await bucket.put("a", b"1")
    with pytest.raises(NatsUnavailable):
        await bucket.page(">", 0, max_entries=1, max_bytes=1)


async def test_a_write_that_is_sent_again_is_done_once(bucket: KvBucket) -> None:
    first = await bucket.put("k", b"1", 0, write_id="a")
    assert await bucket.put("k", b"1", 0, write_id="a") == first

    second = await bucket.put("k", b"2", first, write_id="b")
    assert await bucket.put("k", b"2", first, write_id="b") == second

    third = await bucket.put("k", b"3", write_id="c")
    assert await bucket.put("k", b"3", write_id="c") == third
    with pytest.raises(RevisionConflict):
        await bucket.put("k", b"4", second, write_id="d")
    assert await bucket.get("k") == KvEntry("k", b"3", third)


async def test_a_write_with_the_id_of_another_key_is_done(bucket: KvBucket) -> None:
    await bucket.put("one", b"1", write_id="a")

    await bucket.put("two", b"2", write_id="a")

    assert await bucket.get("two") is not None
