"""Stores with a checkpoint, each as another process, and the frames of its file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker.storage import checkpoint
from broker.storage.checkpoint import Header, read_header
from broker.storage.framed_file import FrameReader, FrameWriter
from broker.storage.store import Store, open_store
from tests.routing.world import UI, RoutingWorld, definition
from tests.support.connecting import connect
from tests.support.keys import KEYS
from tests.support.nats import NatsServer


def write_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write checkpoints of few records, and after each change."""
    monkeypatch.setattr(checkpoint, "MIN_RECORDS", 1)
    monkeypatch.setattr(checkpoint, "FIRST_S", 0)
    monkeypatch.setattr(checkpoint, "PAUSE_S", 0.01)
    monkeypatch.setattr(checkpoint, "CHANGED_SHARE", 1_000_000)


@contextlib.asynccontextmanager
async def opened(nats: NatsServer, file: Path | None) -> AsyncIterator[Store]:
    """Open a store as another process."""
    async with (
        connect(nats.url, process_id="process") as bus,
        open_store(bus, KEYS, creates_keys=True, checkpoint_file=file) as store,
    ):
        yield store


async def write_world(store: Store) -> None:
    """Write two releases of deployments that share a component version."""
    world = RoutingWorld()
    world.environment("dev")
    for name in ("v1", "v2"):
        world.deploy(name, UI, definition("worker", "Path(`/{{.Vars.subPath}}/work`)"))
    for name, deployment in (("pr-1", "v1"), ("pr-2", "v2")):
        world.virtual(name, subPath=name)
        world.release(name, deployment, release_id=f"r-{name}")
    for key, record in {change.key: change.record for change in world.changes}.items():
        assert record is not None
        await store.create(key, record)
    await store.wait_revision(await store.last_revision())


async def written(store: Store, file: Path) -> Header:
    """Return the header of the checkpoint when it holds the records of the store."""
    while (header := await asyncio.to_thread(read_header, file)) is None or (
        header.revision != store.snapshot.revision
    ):
        await asyncio.sleep(0.01)
    return header


def frames_of(file: Path) -> list[bytes]:
    """Return the frames of a checkpoint."""
    reader = FrameReader(file)
    with contextlib.closing(reader):
        reader.open()
        return list(iter(reader.read, None))


def write_frames(file: Path, frames: list[bytes]) -> None:
    """Replace a checkpoint."""
    writer = FrameWriter(file)
    with contextlib.closing(writer):
        writer.open()
        writer.write(frames)
        writer.replace()


def rewritten(**changes: Any) -> Callable[[Path], None]:
    """Return what changes the header of a checkpoint."""

    def rewrite(file: Path) -> None:
        frames = frames_of(file)
        header = msgspec.msgpack.decode(frames[0], type=Header)
        changed = msgspec.msgpack.encode(msgspec.structs.replace(header, **changes))
        write_frames(file, [changed, *frames[1:]])

    return rewrite
