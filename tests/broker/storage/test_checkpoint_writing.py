"""A process keeps its checkpoint as current as its records, beside others that use the file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.nats.watch import BucketWatch
from broker.storage import checkpoint, framed_file
from broker.storage.checkpoint import Checkpoint, CurrentRecords, read_header
from broker.storage.framed_file import FrameReader, FrameWriter, WriteLock
from broker.storage.record_blocks import BlockReader, BlockWriter
from broker.storage.records_bucket import STREAM
from broker.storage.store import Store
from tests.broker.records import dev
from tests.broker.storage.checkpoints import (
    opened,
    rewritten,
    write_at_once,
    write_world,
    written,
)
from tests.support.nats import NatsServer


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    write_at_once(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "records.checkpoint"


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[CurrentRecords | None]:
    """What stores have offered for checkpoints, look by look."""
    found: list[CurrentRecords | None] = []
    current_records = Store.current_records

    def recording(self: Store) -> CurrentRecords | None:
        found.append(current_records(self))
        return found[-1]

    monkeypatch.setattr(Store, "current_records", recording)
    return found


async def looked_again(looks: list[CurrentRecords | None]) -> None:
    """Return when the work of two looks that begin later is over."""
    end = len(looks) + 3
    while len(looks) < end:
        await asyncio.sleep(0.01)


async def test_a_checkpoint_is_written_again_when_the_keys_change(
    own_nats_server: NatsServer, file: Path
) -> None:
    async with opened(own_nats_server, file) as store:
        await write_world(store)
        await written(store, file)
    await asyncio.to_thread(rewritten(data_keys=("earlier",)), file)

    async with opened(own_nats_server, file) as store:
        while (await written(store, file)).data_keys == ("earlier",):
            await asyncio.sleep(0.01)


async def test_no_checkpoint_of_few_records_is_kept(
    own_nats_server: NatsServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(own_nats_server, file) as store:
        await write_world(store)
        await written(store, file)
    monkeypatch.setattr(checkpoint, "MIN_RECORDS", 1_000)

    async with opened(own_nats_server, file):
        while await asyncio.to_thread(file.exists):
            await asyncio.sleep(0.01)


async def test_files_of_killed_writers_are_removed(own_nats_server: NatsServer, file: Path) -> None:
    left = [file.with_name(f".{file.name}.{name}") for name in ("old", "new")]
    for path in left:
        path.touch()
    os.utime(left[0], (0, 0))

    async with opened(own_nats_server, file) as store:
        await write_world(store)
        await written(store, file)

    assert [path.exists() for path in left] == [False, True]


async def test_no_checkpoint_is_written_while_the_records_may_be_behind(
    own_nats_server: NatsServer, file: Path, looks: list[CurrentRecords | None]
) -> None:
    async with opened(own_nats_server, file) as store:
        await write_world(store)
        while store.is_applying:
            # Its end would mark the records as current again.
            await asyncio.sleep(0)
        await store._watch.pause()
        await looked_again(looks)
        await asyncio.to_thread(file.unlink, missing_ok=True)
        await looked_again(looks)
        assert not await asyncio.to_thread(file.exists)

        await store.create("environment.late", dev())
        await store.wait_revision(await store.last_revision())
        await written(store, file)


async def test_a_checkpoint_is_as_old_as_its_records(
    own_nats_server: NatsServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard_s = time.time() - 3_600
    heard = property(lambda _: heard_s, lambda *_: None)
    monkeypatch.setattr(BucketWatch, "heard_s", heard, raising=False)

    async with opened(own_nats_server, file) as store:
        await write_world(store)
        assert (await written(store, file)).current_at_s == heard_s


async def test_a_checkpoint_tells_when_its_records_were_read_from_nats(
    own_nats_server: NatsServer, file: Path, looks: list[CurrentRecords | None]
) -> None:
    async with opened(own_nats_server, file) as store:
        await write_world(store)
        first = await written(store, file)
        assert first.read_at_s == first.current_at_s

    async with opened(own_nats_server, file) as store:
        await store.create("environment.late", dev())
        await store.wait_revision(await store.last_revision())
        assert (await written(store, file)).read_at_s == first.read_at_s

        store.checkpoint._read_at_s -= checkpoint.MAX_CHAIN_S
        await asyncio.to_thread(rewritten(data_keys=("earlier",)), file)
        while await asyncio.to_thread(file.exists):
            await asyncio.sleep(0.01)
        await looked_again(looks)
        assert not await asyncio.to_thread(file.exists)


async def test_one_of_two_processes_that_miss_the_checkpoint_writes_it(
    own_nats_server: NatsServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_by: list[BlockWriter] = []
    lockers: list[WriteLock] = []
    is_written = threading.Event()
    blocks, open_lock = BlockWriter.blocks, WriteLock.open

    def noted_blocks(self: BlockWriter) -> Iterator[bytes]:
        written_by.append(self)
        return blocks(self)

    def first_waits(self: WriteLock) -> None:
        lockers.append(self)
        if len(lockers) == 1:
            assert is_written.wait(60)
        open_lock(self)

    async def renew(store: Store) -> None:
        current = store.current_records()
        assert current is not None
        await store.checkpoint.renew(file, current)
        is_written.set()

    monkeypatch.setattr(BlockWriter, "blocks", noted_blocks)
    monkeypatch.setattr(WriteLock, "open", first_waits)
    async with opened(own_nats_server, None) as store, opened(own_nats_server, None) as other:
        await write_world(store)
        await other.wait_revision(store.snapshot.revision)
        await asyncio.gather(renew(store), renew(other))

    assert len(lockers) == 2
    assert len(written_by) == 1
    assert await asyncio.to_thread(read_header, file) is not None


async def test_nothing_is_written_while_another_process_writes(
    own_nats_server: NatsServer, file: Path, looks: list[CurrentRecords | None]
) -> None:
    lock = WriteLock(file)
    with contextlib.closing(lock):
        lock.open()
        assert lock.acquire()
        async with opened(own_nats_server, file) as store:
            await write_world(store)
            await looked_again(looks)
            assert not await asyncio.to_thread(file.exists)

            lock.close()
            await written(store, file)


async def test_a_checkpoint_whose_message_is_gone_is_replaced(
    own_nats_server: NatsServer,
    file: Path,
    looks: list[CurrentRecords | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened(own_nats_server, file) as store:
        await write_world(store)
        header = await written(store, file)
        monkeypatch.setattr(checkpoint, "CHANGED_SHARE", 0.01)
        await store.create("environment.late", dev())
        await store.wait_revision(await store.last_revision())
        await looked_again(looks)
        assert await asyncio.to_thread(read_header, file) == header

        await store._bus.jetstream().delete_msg(STREAM, header.revision)
        await written(store, file)


@pytest.mark.parametrize("failing", [(Path, "is_dir"), (Checkpoint, "_why_outdated")])
@pytest.mark.parametrize("error", [PermissionError("not permitted"), RuntimeError("unexpected")])
async def test_a_checkpoint_is_kept_although_a_look_has_failed(
    own_nats_server: NatsServer,
    file: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    failing: tuple[type, str],
    error: Exception,
) -> None:
    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(failing[0], failing[1], fail)
        async with opened(own_nats_server, file) as store:
            await write_world(store)
            while str(error) not in caplog.text:
                await asyncio.sleep(0.01)
            patched.undo()
            await written(store, file)


async def test_a_checkpoint_is_written_and_read_part_by_part(
    own_nats_server: NatsServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framed_file, "PART_BYTES", 1)
    steps: list[str] = []

    def note(kind: type, name: str) -> None:
        call = getattr(kind, name)

        def noted(*args: Any) -> Any:
            steps.append(name)
            return call(*args)

        monkeypatch.setattr(kind, name, noted)

    note(FrameWriter, "write")
    note(FrameReader, "read_part")
    note(BlockReader, "add")
    async with opened(own_nats_server, None) as store:
        await write_world(store)
        current = store.current_records()
        assert current is not None
        await store.checkpoint.renew(file, current)
        count = BlockWriter(current.records, store.sealed_records).count
    assert count > 1
    assert steps == ["write"] * (count + 1)

    steps.clear()
    monkeypatch.setattr(checkpoint, "FIRST_S", 3_600)
    async with opened(own_nats_server, file):
        assert steps == [*(["read_part", "add"] * count), "read_part"]
