import asyncio
from collections.abc import AsyncIterator

import pytest

from broker import bus
from broker.bus import Bus
from broker.kv import KvBucket, KvEntry
from model.errors import NatsUnavailable, RevisionConflict
from tests.support.nats import NatsServer


@pytest.fixture
async def connection(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with bus.connect(own_nats_server.url, process_id="kv-test") as connected:
        yield connected


@pytest.fixture
def bucket(connection: Bus) -> KvBucket:
    return KvBucket(connection, "things")


async def stored_messages(connection: Bus, bucket: str) -> int:
    info = await connection.jetstream().stream_info(f"KV_{bucket}")
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


async def test_the_first_write_makes_the_bucket(bucket: KvBucket) -> None:
    revision = await bucket.put("a", b"1")

    assert await bucket.get("a") == KvEntry("a", b"1", revision)


async def test_two_first_writes_at_once_both_succeed(connection: Bus) -> None:
    one, other = KvBucket(connection, "things"), KvBucket(connection, "things")

    revisions = await asyncio.gather(one.put("a", b"1"), other.put("b", b"2"))

    assert sorted(revisions) == [1, 2]


class MadeMeanwhile(KvBucket):
    """Somebody makes the bucket just after a read has found that nobody answers."""

    async def _exists(self) -> bool:
        await KvBucket(self._bus, self._name).put("a", b"1")
        return await super()._exists()


async def test_a_read_while_the_bucket_is_made_succeeds(connection: Bus) -> None:
    by_key, by_page = MadeMeanwhile(connection, "things"), MadeMeanwhile(connection, "others")

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


async def test_a_write_that_must_be_the_first_succeeds_once_and_again_after_deletion(
    bucket: KvBucket,
) -> None:
    await bucket.put("a", b"1", 0)
    with pytest.raises(RevisionConflict):
        await bucket.put("a", b"2", 0)

    await bucket.delete("a")

    assert await bucket.put("a", b"3", 0)


async def test_a_first_write_does_not_stumble_over_a_delete_marker(
    connection: Bus, bucket: KvBucket
) -> None:
    await bucket.put("a", b"1")
    theirs = await connection.jetstream().key_value("things")
    await theirs.delete("a")

    assert await bucket.get("a") is None
    assert await read_all(bucket, ">", 10) == []
    revision = await bucket.put("a", b"2", 0)
    assert await bucket.get("a") == KvEntry("a", b"2", revision)


async def test_first_writes_and_deletions_at_once_lose_nothing(bucket: KvBucket) -> None:
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


async def test_a_deleted_key_leaves_nothing_behind(connection: Bus, bucket: KvBucket) -> None:
    for number in range(10):
        await bucket.put(f"a.{number}", b"x")
    for number in range(10):
        await bucket.delete(f"a.{number}")
    await bucket.delete("a.never-there")

    assert await stored_messages(connection, "things") == 0


async def test_pages_hold_every_entry_of_the_pattern_in_order_of_revision(
    bucket: KvBucket,
) -> None:
    for number in range(7):
        await bucket.put(f"mine.{number}", b"%d" % number)
        await bucket.put(f"yours.{number}", b"")
    await bucket.put("mine.0", b"again")
    await bucket.delete("mine.1")

    entries = await read_all(bucket, "mine.>", 2)

    assert [each.key for each in entries] == [f"mine.{n}" for n in (2, 3, 4, 5, 6, 0)]
    assert entries[-1].value == b"again"


async def test_a_page_ends_after_its_bytes_but_has_an_entry_at_least(bucket: KvBucket) -> None:
    for number in range(5):
        await bucket.put(f"a.{number}", b"x" * 1000)

    page, after = await bucket.page(">", 0, max_entries=10, max_bytes=10)

    assert [each.key for each in page] == ["a.0"]
    assert after == page[0].revision


async def test_what_was_written_survives_a_restart(
    connection: Bus, bucket: KvBucket, own_nats_server: NatsServer
) -> None:
    reconnected = asyncio.Event()

    async def note() -> None:
        reconnected.set()

    connection.on_reconnect(note)
    revision = await bucket.put("a", b"kept")

    await asyncio.to_thread(own_nats_server.restart)
    await reconnected.wait()

    assert await bucket.get("a") == KvEntry("a", b"kept", revision)
    assert await bucket.put("a", b"new", revision) > revision


async def test_without_a_connection_everything_fails_at_once(
    connection: Bus, bucket: KvBucket, own_nats_server: NatsServer
) -> None:
    await connection.serve("silence", keep_silent)
    asked = asyncio.create_task(connection.request("silence", b"", timeout_s=60))
    await asyncio.to_thread(own_nats_server.stop)
    with pytest.raises(NatsUnavailable):
        await asked

    with pytest.raises(NatsUnavailable):
        await bucket.get("a")
    with pytest.raises(NatsUnavailable):
        await bucket.put("a", b"1")
    with pytest.raises(NatsUnavailable):
        await bucket.page(">", 0, max_entries=1, max_bytes=1)
