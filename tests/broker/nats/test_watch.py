"""A watch resumes where it ended, or reads the whole bucket again when that is unsafe."""

from __future__ import annotations

import asyncio
import shutil
import time

import pytest

from broker.nats import ordered_consumer
from broker.nats.bus import Bus, connect
from broker.nats.entry_buffer import EntryBuffer, WatchedEntry
from broker.nats.jetstream import ensure_bucket
from broker.nats.ordered_consumer import StreamMessage
from broker.nats.watch import DELETE_MARKER_S, BucketWatch, EntryBatches, watch_bucket
from broker.runtime.background import run_in_background
from tests.support.nats import NatsServer

BUCKET = "watched"


class KeyReplica:
    """A replica that keeps the keys, and counts how often the whole bucket was read."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.times_replaced = 0
        self.applied = asyncio.Event()

    async def replace(self, batches: EntryBatches) -> None:
        self.times_replaced += 1
        self.keys = {entry.key async for batch in batches for entry in batch if entry.value}

    async def apply(self, entry: WatchedEntry) -> None:
        self.keys.add(entry.key)
        self.applied.set()


@pytest.mark.parametrize(("delete_marker_s", "times"), [(DELETE_MARKER_S, 1), (0, 2)])
async def test_a_reconnect_reads_the_whole_bucket_only_if_delete_markers_may_be_gone(
    bus: Bus, delete_marker_s: int, times: int
) -> None:
    bucket, replica, current = await ensure_bucket(bus, BUCKET), KeyReplica(), asyncio.Event()
    await bucket.put("one", b"1")
    async with watch_bucket(bus, BUCKET, replica, current, delete_marker_s=delete_marker_s):
        current.clear()
        await bus.reconnected()
        await current.wait()
        replica.applied.clear()
        await bucket.put("two", b"2")
        await replica.applied.wait()

    assert replica.times_replaced == times
    assert replica.keys == {"one", "two"}


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Subjects of the entries that have arrived in the buffer of a watch."""
    found: list[bytes] = []
    add = EntryBuffer.add

    def recording(self: EntryBuffer, message: StreamMessage) -> None:
        add(self, message)
        found.append(message.subject)

    monkeypatch.setattr(EntryBuffer, "add", recording)
    return found


class SlowReplica(KeyReplica):
    """A replica whose bucket changes while it is read, and whose ``apply`` waits."""

    def __init__(self, bus: Bus, added: list[bytes]) -> None:
        super().__init__()
        self._bus, self._added = bus, added
        self.applying, self.may_apply = asyncio.Event(), asyncio.Event()
        self.replaced_s = 0.0

    async def replace(self, batches: EntryBatches) -> None:
        await super().replace(batches)
        await (await ensure_bucket(self._bus, BUCKET)).put("two", b"2")
        while b"$KV.watched.two" not in self._added:
            await self._bus.flush()
        self.replaced_s = time.time()

    async def apply(self, entry: WatchedEntry) -> None:
        self.applying.set()
        await self.may_apply.wait()
        await super().apply(entry)


async def test_a_change_during_the_first_read_survives_a_reconnect(
    bus: Bus, added: list[bytes]
) -> None:
    bucket, replica = await ensure_bucket(bus, BUCKET), SlowReplica(bus, added)
    current = asyncio.Event()
    await bucket.put("one", b"1")
    watch = BucketWatch(bus, BUCKET, replica, current)

    async with run_in_background(watch.run(), "the watch"):
        await replica.applying.wait()
        assert watch.revision == 1
        await watch.restart()
        replica.may_apply.set()
        await current.wait()

    assert replica.keys == {"one", "two"}


async def test_a_replica_that_catches_up_is_as_old_as_before(bus: Bus, added: list[bytes]) -> None:
    bucket, replica = await ensure_bucket(bus, BUCKET), SlowReplica(bus, added)
    current = asyncio.Event()
    await bucket.put("one", b"1")
    watch = BucketWatch(bus, BUCKET, replica, current)

    async with run_in_background(watch.run(), "the watch"):
        await replica.applying.wait()
        assert watch.heard_s < replica.replaced_s
        replica.may_apply.set()
        await current.wait()
        assert watch.heard_s > replica.replaced_s


async def test_heartbeats_keep_the_replica_of_an_idle_bucket_young(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordered_consumer, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(ordered_consumer, "MISSED_HEARTBEATS", 1_000)
    await ensure_bucket(bus, BUCKET)

    async with watch_bucket(bus, BUCKET, KeyReplica()) as watch:
        heard_s = watch.heard_s
        while watch.heard_s <= heard_s:
            await asyncio.sleep(0.01)


async def test_a_replica_is_kept_when_nats_has_lost_the_bucket_until_it_is_restored(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    bucket, replica, current = await ensure_bucket(bus, BUCKET), KeyReplica(), asyncio.Event()
    for key in ("one", "two"):
        await bucket.put(key, b"1")
    async with watch_bucket(bus, BUCKET, replica, current, keeps_lost=True):
        await bus.jetstream().delete_stream(f"KV_{BUCKET}")
        await bus.reconnected()
        while "it does not exist" not in caplog.text:
            await asyncio.sleep(0.01)

        bucket = await ensure_bucket(bus, BUCKET)
        await bucket.put("keys-of-a-new-platform", b"1")
        while "without records" not in caplog.text:
            await asyncio.sleep(0.01)
        assert replica.keys == {"one", "two"}

        await bucket.put("three", b"1")
        await current.wait()
    assert replica.keys == {"keys-of-a-new-platform", "three"}


async def test_a_watch_goes_on_when_the_files_of_nats_are_restored(
    own_nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    files, backup = own_nats_server.folder / "jetstream", own_nats_server.folder / "backup"
    replica, current = KeyReplica(), asyncio.Event()
    async with connect(own_nats_server.url, process_id="process") as bus:
        bucket = await ensure_bucket(bus, BUCKET)
        for key in ("one", "two"):
            await bucket.put(key, b"1")
        async with watch_bucket(bus, BUCKET, replica, current, keeps_lost=True):
            await asyncio.to_thread(own_nats_server.stop)
            await asyncio.to_thread(files.rename, backup)
            await asyncio.to_thread(own_nats_server.start)
            while "NATS has lost" not in caplog.text:
                await asyncio.sleep(0.01)
            assert replica.keys == {"one", "two"}

            await asyncio.to_thread(own_nats_server.stop)
            await asyncio.to_thread(shutil.rmtree, files)
            await asyncio.to_thread(backup.rename, files)
            await asyncio.to_thread(own_nats_server.start)
            await current.wait()
            await bucket.put("three", b"1")
            await replica.applied.wait()

    assert replica.keys == {"one", "two", "three"}
