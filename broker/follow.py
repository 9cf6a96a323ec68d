"""Follow a whole KV bucket: first all that it holds, then each change.

The watcher is started anew after each reconnect, because the one that nats-py keeps would stay
blind for up to 20 s. A watcher shows no key whose tombstone has gone, so every start delivers the
content as a whole and never as a difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from nats.errors import Error as NatsError
from nats.js.kv import KeyValue

from broker.bus import Bus
from model.errors import FoxError

logger = logging.getLogger(__name__)

RETRY_S = 0.2

_DELETED = ("DEL", "PURGE")


class Mirror(Protocol):
    """What keeps a copy of the bucket; its methods are called in the order of the changes."""

    def replace(self, entries: Mapping[str, bytes]) -> None:
        """Take ``entries`` as all that the bucket holds."""
        ...

    def change(self, key: str, value: bytes | None) -> None:
        """Take one new value, or a deletion when it is None."""
        ...


class Follower:
    """Keeps one mirror current; made by ``follow``."""

    def __init__(self, bucket: KeyValue, mirror: Mirror) -> None:
        """Prepare; nothing is followed before ``run``."""
        self._bucket = bucket
        self._mirror = mirror
        self._lost = asyncio.Event()
        self.is_current = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self._lost.clear()
            try:
                await self._follow_once()
            except (NatsError, FoxError, TimeoutError) as error:
                logger.warning("a bucket cannot be followed, trying again: %s", error)
                await asyncio.sleep(RETRY_S)
            finally:
                self.is_current.clear()

    async def restart(self) -> None:
        """Start the watcher anew: the connection was lost in between."""
        self.is_current.clear()
        self._lost.set()

    async def _follow_once(self) -> None:
        watcher = await self._bucket.watchall()
        lost = asyncio.create_task(self._lost.wait())
        reader = asyncio.create_task(self._read(watcher))
        try:
            await asyncio.wait((lost, reader), return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                await reader
        finally:
            lost.cancel()
            reader.cancel()
            with contextlib.suppress(NatsError):
                await watcher.stop()

    async def _read(self, watcher: KeyValue.KeyWatcher) -> None:
        whole: dict[str, bytes] = {}
        async for entry in watcher:
            if entry is None:
                self._mirror.replace(whole)
                self.is_current.set()
                continue
            value = None if entry.operation in _DELETED else entry.value or b""
            if self.is_current.is_set():
                self._mirror.change(entry.key, value)
            elif value is not None:
                whole[entry.key] = value


@contextlib.asynccontextmanager
async def follow(bus: Bus, bucket: KeyValue, mirror: Mirror) -> AsyncIterator[Follower]:
    """Keep ``mirror`` current until the context ends; it is when the context begins."""
    follower = Follower(bucket, mirror)
    bus.on_reconnect(follower.restart)
    task = asyncio.create_task(follower.run())
    try:
        await follower.is_current.wait()
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
