"""Follow a whole KV bucket: first all that it holds, then each change.

The watcher is started anew after each reconnect, because the one that nats-py keeps would stay
blind for up to 20 s. A watcher shows no key whose tombstone has gone, so every start delivers the
content as a whole and never as a difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from nats.errors import Error as NatsError
from nats.js.kv import KeyValue

from broker.bus import Bus
from broker.cancelling import cancellable
from model.errors import FoxError

logger = logging.getLogger(__name__)

RETRY_S = 0.2

_DELETED = ("DEL", "PURGE")


class Entry(NamedTuple):
    """One key at one revision; ``value`` is None where it was deleted."""

    key: str
    value: bytes | None
    revision: int


class Mirror(Protocol):
    """What keeps a copy of the bucket; its methods are called in the order of the changes."""

    def replace(self, entries: Sequence[Entry]) -> None:
        """Take ``entries``, deleted ones among them, as all that the bucket holds."""
        ...

    def change(self, entry: Entry) -> None:
        """Take one new value or deletion."""
        ...


class Follower:
    """Keeps one mirror current; made by ``follow``."""

    def __init__(self, bucket: KeyValue, mirror: Mirror, current: asyncio.Event) -> None:
        """Prepare; nothing is followed before ``run``."""
        self._bucket = bucket
        self._mirror = mirror
        self._current = current
        self._lost = asyncio.Event()

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
                self._current.clear()

    async def restart(self) -> None:
        """Start the watcher anew: the connection was lost in between."""
        self._current.clear()
        self._lost.set()

    async def _follow_once(self) -> None:
        watcher = await cancellable(self._bucket.watchall())
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
        whole: list[Entry] = []
        async for update in watcher:
            if update is None:
                self._mirror.replace(whole)
                self._current.set()
                continue
            value = None if update.operation in _DELETED else update.value or b""
            entry = Entry(update.key, value, update.revision or 0)
            if self._current.is_set():
                self._mirror.change(entry)
            else:
                whole.append(entry)


@contextlib.asynccontextmanager
async def follow(
    bus: Bus, bucket: KeyValue, mirror: Mirror, current: asyncio.Event | None = None
) -> AsyncIterator[None]:
    """Keep ``mirror`` current until the context ends; it is when the context begins.

    Args:
        bus: Connection to use.
        bucket: What to follow.
        mirror: Who keeps the copy.
        current: Set here while the mirror holds all that the bucket held a moment ago.
    """
    current = current or asyncio.Event()
    follower = Follower(bucket, mirror, current)
    bus.on_reconnect(follower.restart)
    task = asyncio.create_task(follower.run())
    try:
        await current.wait()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
