"""A process that starts from a checkpoint has the records that NATS has, whatever has happened."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker.nats import watch
from broker.nats.entry_buffer import EntryBuffer
from broker.storage import checkpoint
from broker.storage.checkpoint import Checkpoint
from broker.storage.record_blocks import BlockReader
from broker.storage.records_bucket import STREAM
from broker.storage.store import Store
from kubefox.environment import EnvironmentData, VirtualEnvironment
from kubefox.records import deployment_key, environment_key, virtual_environment_key
from tests.broker.records import KEY, dev
from tests.broker.storage.checkpoints import (
    frames_of,
    opened,
    rewritten,
    write_at_once,
    write_frames,
    write_world,
    written,
)
from tests.routing.world import ask
from tests.support.connecting import connect
from tests.support.nats import NatsServer

PASSWORD = "correct-horse-battery"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    write_at_once(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "records.checkpoint"


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the entries that NATS delivers, one after another."""
    found: list[str] = []
    add = EntryBuffer.add

    def recording(self: EntryBuffer, message: Any) -> None:
        found.append(message.subject.decode().split(".", 2)[2])
        add(self, message)

    monkeypatch.setattr(EntryBuffer, "add", recording)
    return found


def contents(store: Store) -> dict[str, Any]:
    """Return all that the snapshot of a store knows of records."""
    found = store.snapshot.records
    kinds = {
        kind: {name: (entry.record, entry.revision) for name, entry in entries.items()}
        for kind, entries in found.kinds.items()
    }
    return {
        **kinds,
        "uses": dict(found.uses.items()),
        "labelled": {label: set(names) for label, names in (found.labelled or {}).items()},
        "rolling": set(found.rolling),
        "active": set(store.snapshot.release_index.active_releases),
    }


async def expect_all_records(nats: NatsServer, file: Path) -> Store:
    """Check that a start from the checkpoint leads to the records of one without it."""
    async with opened(nats, None) as other:
        expected = contents(other)
    async with opened(nats, file) as store:
        assert contents(store) == expected
        return store


async def test_a_start_from_a_checkpoint_reads_only_later_records(
    own_nats_server: NatsServer, file: Path, added: list[str]
) -> None:
    async with opened(own_nats_server, file) as store:
        await write_world(store)
        await written(store, file)
    async with opened(own_nats_server, None) as other:
        await other.create("environment.late", dev())
        expected = contents(other)

    added.clear()
    async with opened(own_nats_server, file) as store:
        assert added == ["environment.late"]
        assert contents(store) | {"environment": {}} == expected | {"environment": {}}
        assert store.snapshot.environments.keys() == {"dev", "late"}
        target = ask(store.snapshot, "/pr-2/work").target
        assert target is not None
        assert target.context.deployment == "v2"
        usage = await store.usage()
        assert set(usage.members("dev")) == {"pr-1", "pr-2"}


async def test_a_store_that_started_from_a_checkpoint_follows_changes(
    own_nats_server: NatsServer, file: Path
) -> None:
    async with opened(own_nats_server, file) as store:
        await write_world(store)
        await written(store, file)

    async with opened(own_nats_server, file) as store:
        revision = store.snapshot.revision_of(deployment_key("v2"))
        await store.delete(deployment_key("v2"), revision)
        await store.wait_change(store.revision - 1)

    store = await expect_all_records(own_nats_server, file)
    assert store.snapshot.deployments.keys() == {"v1"}
    assert "pr-2" in store.snapshot.release_index.incomplete


async def test_changes_and_deletions_after_a_checkpoint_are_seen(
    own_nats_server: NatsServer, file: Path
) -> None:
    async with opened(own_nats_server, file) as store:
        await write_world(store)
        await written(store, file)
    async with opened(own_nats_server, None) as other:
        for key in (deployment_key("v1"), virtual_environment_key("pr-2")):
            await other.delete(key, other.snapshot.revision_of(key))
        key = environment_key("dev")
        await other.update(key, dev("blue"), other.snapshot.revision_of(key))

    store = await expect_all_records(own_nats_server, file)

    assert store.snapshot.environments["dev"] == dev("blue")


async def test_secrets_are_encrypted_in_a_checkpoint(
    own_nats_server: NatsServer, file: Path
) -> None:
    data = EnvironmentData(vars={"colour": "visible"}, secrets={"password": PASSWORD})
    virtual = VirtualEnvironment(name="team-a", environment="dev", data=data)
    async with opened(own_nats_server, file) as store:
        await store.create(virtual_environment_key("team-a"), virtual)
        await store.create(KEY, msgspec.structs.replace(dev(), data=data))
        await store.wait_revision(await store.last_revision())
        await written(store, file)

    content = file.read_bytes()
    assert b"visible" in content
    assert PASSWORD.encode() not in content
    store = await expect_all_records(own_nats_server, file)
    assert store.snapshot.virtual_environments["team-a"] == virtual


async def test_a_checkpoint_of_another_bucket_is_not_used(
    own_nats_server: NatsServer, file: Path
) -> None:
    async with opened(own_nats_server, file) as store:
        await write_world(store)
        await written(store, file)
    async with connect(own_nats_server.url, process_id="eraser") as bus:
        await bus.jetstream().delete_stream(STREAM)
    async with opened(own_nats_server, None) as other:
        for number in range(30):
            await other.create(f"environment.e{number}", dev())

    store = await expect_all_records(own_nats_server, file)

    assert store.snapshot.deployments == {}


async def test_a_checkpoint_of_a_history_that_a_restored_backup_lacks_is_not_used(
    own_nats_server: NatsServer, file: Path
) -> None:
    files, backup = own_nats_server.folder / "jetstream", own_nats_server.folder / "backup"
    async with opened(own_nats_server, None) as store:
        await write_world(store)
    await asyncio.to_thread(own_nats_server.stop)
    await asyncio.to_thread(shutil.copytree, files, backup)
    await asyncio.to_thread(own_nats_server.start)
    async with opened(own_nats_server, file) as store:
        await store.create("environment.forgotten", dev())
        await store.wait_revision(await store.last_revision())
        header = await written(store, file)
    await asyncio.to_thread(own_nats_server.stop)
    await asyncio.to_thread(shutil.rmtree, files)
    await asyncio.to_thread(backup.rename, files)
    await asyncio.to_thread(own_nats_server.start)
    async with opened(own_nats_server, None) as other:
        for name in ("forgotten", "other"):
            await other.create(f"environment.{name}", dev("blue"))
        assert await other.last_revision() > header.revision

    store = await expect_all_records(own_nats_server, file)

    assert store.snapshot.environments["forgotten"] == dev("blue")


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def shorten(file: Path) -> None:
    write_frames(file, frames_of(file)[:-1])


def lengthen(file: Path) -> None:
    """Have the header's frame claim 4 GiB."""
    content = bytearray(file.read_bytes())
    content[:4] = b"\xff" * 4
    file.write_bytes(content)


def cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def open_to_others(file: Path) -> None:
    file.chmod(0o666)


@pytest.mark.parametrize(
    "spoil",
    [
        rewritten(current_at_s=time.time() - checkpoint.MAX_AGE_S - 60),
        rewritten(current_at_s=time.time() + 86_400),
        rewritten(read_at_s=time.time() - checkpoint.MAX_CHAIN_S - 60),
        rewritten(read_at_s=time.time() + 86_400),
        rewritten(form="of another version"),
        rewritten(data_keys=("lost",)),
        rewritten(created="another time"),
        rewritten(subject="$KV.kubefox.environment.other"),
        rewritten(stored="another time"),
        rewritten(revision=1_000_000),
        *(damage, shorten, lengthen, cut_off, empty, open_to_others),
    ],
)
async def test_a_checkpoint_that_cannot_be_trusted_is_not_used(
    own_nats_server: NatsServer,
    file: Path,
    added: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
) -> None:
    caplog.set_level("INFO", "broker.storage.checkpoint")
    async with opened(own_nats_server, file) as store:
        await write_world(store)
        await written(store, file)
    monkeypatch.setattr(checkpoint, "FIRST_S", 3_600)
    await asyncio.to_thread(spoil, file)
    added.clear()

    async with opened(own_nats_server, file) as store:
        assert len(store.snapshot.deployments) == 2
        assert len(added) > len(store.snapshot.deployments)
    assert f"checkpoint {file} is not used: " in caplog.text or "is ignored: " in caplog.text


async def test_a_checkpoint_that_makes_its_reader_fail_does_not_keep_a_process_from_its_start(
    own_nats_server: NatsServer,
    file: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened(own_nats_server, file) as store:
        await write_world(store)
        await written(store, file)

    def fail(_self: BlockReader, _content: bytes) -> None:
        raise RuntimeError("an unexpected failure")

    monkeypatch.setattr(BlockReader, "add", fail)
    async with opened(own_nats_server, file) as store:
        assert len(store.snapshot.deployments) == 2
    assert "an unexpected failure" in caplog.text


async def test_restored_records_that_cannot_be_used_are_read_from_nats(
    own_nats_server: NatsServer, file: Path, added: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(own_nats_server, file) as store:
        await write_world(store)
        await written(store, file)
    monkeypatch.setattr(watch, "RETRY_S", 0.01)
    take = Checkpoint.take

    def spoiled(self: Checkpoint) -> Any:
        return None if take(self) is None else "no records"

    monkeypatch.setattr(Checkpoint, "take", spoiled)
    added.clear()
    async with opened(own_nats_server, file) as store:
        assert len(store.snapshot.deployments) == 2
        assert len(added) > len(store.snapshot.deployments)
