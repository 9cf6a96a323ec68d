"""Watch a KV bucket: first all its entries, then each change.

nats-py's own watcher takes twice the time to read a bucket, and stays blind for up to 20 s after a
restart of NATS. Here the subscription is made again after each reconnect, and starts where the last
one ended: the bucket's history still has everything that was missed, deletions included. The whole
bucket is read again only if another bucket of the same name has replaced it, if it was restored to
an older state, or if the watch was interrupted for so long that delete markers may be gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import NotFoundError

from broker.nats.bus import Bus
from broker.nats.entry_buffer import EntryBuffer, WatchedEntry
from broker.nats.ordered_consumer import consume_in_order
from broker.runtime.background import run_in_background
from broker.runtime.cancelling import cancellable
from broker.runtime.cooperative import TimeSlice
from kubefox.errors import FoxError, NatsUnavailable

logger = logging.getLogger(__name__)

RETRY_S = 0.2
MAX_RETRY_S = 1.0
"""Pause after a failure: the first one, and the longest, which failures in a row reach."""

DELETE_MARKER_S = 7 * 86_400
"""How long the marker of a deletion stays at least."""

EMPTIED_KEYS = 1
"""A new platform has so many keys at once: those that its data are encrypted with."""

EntryBatches = AsyncIterator[Sequence[WatchedEntry]]

Restore = Callable[[api.StreamInfo], Awaitable[int]]
"""Prepares an earlier copy of the bucket, of which the state is given, for ``replace``, which then
gets only later entries. Returns the copy's revision; 0 if there is none that can be used. If it
raises, it is called again and again, and the watch does not begin."""


class BucketReplica(Protocol):
    """A copy of the bucket; its methods are called in the order of the changes."""

    async def replace(self, batches: EntryBatches) -> None:
        """Replace the content by these entries, deletions among them.

        Until this returns, readers should see the old content. With many entries, yield to the
        loop in between.
        """
        ...

    async def apply(self, entry: WatchedEntry) -> None:
        """Apply one new value or deletion; if that takes long, yield to the loop in between."""
        ...


class BucketWatch:
    """Keeps one replica up to date; made by ``watch_bucket``.

    Args:
        bus: Connection to use.
        bucket: Name of the bucket.
        replica: Copy to keep up to date.
        current: Set here while the replica is up to date.
        delete_marker_s: How long delete markers stay in the bucket at least.
        keeps_lost: Whether the replica stays as it is when NATS has lost the bucket.
        restore: Called before the first ``replace``, and again if that fails.

    Attributes:
        info: State of the bucket when it was read last; None before.
        revision: The replica has everything that was written up to this revision of the bucket.
        is_applying: Whether the replica is being changed by entries that have arrived.
        heard_s: Unix time up to which the replica has followed the bucket, an idle one too; 0 if it
            never has.
    """

    def __init__(
        self,
        bus: Bus,
        bucket: str,
        replica: BucketReplica,
        current: asyncio.Event,
        delete_marker_s: float = DELETE_MARKER_S,
        *,
        keeps_lost: bool = False,
        restore: Restore | None = None,
    ) -> None:
        self._bus = bus
        self._stream = f"KV_{bucket}"
        self._prefix = f"$KV.{bucket}."
        self._replica = replica
        self._current = current
        self._delete_marker_s = delete_marker_s
        self._keeps_lost = keeps_lost
        self._restore = restore
        self.info: api.StreamInfo | None = None
        self._lost = asyncio.Event()
        self._created: datetime | None = None
        self._moved = asyncio.Event()
        self.revision = 0
        self.is_applying = False
        self.heard_s = 0.0

    async def run(self) -> None:
        """Watch until cancelled."""
        pause_s = RETRY_S
        while True:
            self._lost.clear()
            try:
                await self._watch_until_lost()
                pause_s = RETRY_S
                continue
            except (NatsError, FoxError, TimeoutError) as error:
                logger.warning("%s cannot be watched, retrying: %s", self._stream, error)
            except Exception:
                # Without a retry the process would route by an outdated snapshot for ever.
                logger.exception("watching %s failed, retrying", self._stream)
            finally:
                self._current.clear()
            pause_s = await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> float:
        """Wait before the next attempt, until a reconnect at most; return the next pause."""
        try:
            async with asyncio.timeout(pause_s):
                await self._lost.wait()
        except TimeoutError:
            return min(2 * pause_s, MAX_RETRY_S)
        return RETRY_S

    async def wait_beyond(self, revision: int) -> None:
        """Return as soon as the replica's revision is above ``revision``."""
        while self.revision <= revision:
            await self._moved.wait()

    async def pause(self) -> None:
        """Mark the replica as possibly outdated: the connection is down."""
        self._current.clear()

    async def restart(self) -> None:
        """Subscribe again: the connection was lost in between."""
        self._lost.set()

    async def _watch_until_lost(self) -> None:
        lost = asyncio.create_task(self._lost.wait())
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait((lost, watching), return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await watching
        finally:
            lost.cancel()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        info = await self._read_info()
        is_same = info.created == self._created and self.revision <= info.state.last_seq
        resumes = is_same and time.time() - self.heard_s < self._delete_marker_s
        since = self.revision if resumes else await self._restored(info)
        buffer, began_s = EntryBuffer(self._prefix), time.time()
        async with consume_in_order(
            self._bus, self._stream, self._consumer(since), buffer, self._lose
        ) as consumer:
            buffer.on_room = consumer.resume
            if not consumer.pending:
                buffer.mark_complete()
            if not resumes:
                await self._replica.replace(buffer.initial_entries())
                self._created, self.revision, self.heard_s = info.created, 0, began_s
                self._move(max(since, buffer.revision))
            self.info = info
            consumer.on_heartbeat = partial(self._hear, buffer)
            await self._apply_changes(buffer, info.state.last_seq)

    async def _restored(self, info: api.StreamInfo) -> int:
        if self._restore is None or self._created is not None:
            return 0
        return await self._restore(info)

    async def _read_info(self) -> api.StreamInfo:
        """Return the state of the bucket.

        Raises:
            NatsUnavailable: NATS has lost the bucket, and the replica is to stay as it is.
        """
        holds = self._keeps_lost and self._created is not None and self.revision > EMPTIED_KEYS
        try:
            info = await cancellable(self._bus.jetstream().stream_info(self._stream))
        except NotFoundError as error:
            if not holds:
                raise
            raise self._lost_error("it does not exist") from error
        if holds and info.created != self._created and info.state.messages <= EMPTIED_KEYS:
            raise self._lost_error("another one, without records, has its name")
        return info

    def _lost_error(self, found: str) -> NatsUnavailable:
        return NatsUnavailable(
            f"NATS has lost {self._stream}: {found}. This process goes on by the records that it "
            "holds, until it is restarted. Restart nothing, and restore a backup: see "
            "docs/operations/backup.md"
        )

    def _consumer(self, since: int) -> api.ConsumerConfig:
        config = api.ConsumerConfig(
            filter_subject=f"{self._prefix}>", deliver_policy=api.DeliverPolicy.LAST_PER_SUBJECT
        )
        if since:
            config.deliver_policy = api.DeliverPolicy.BY_START_SEQUENCE
            config.opt_start_seq = since + 1
        return config

    def _lose(self, reason: str) -> None:
        logger.warning("%s is watched again: %s", self._stream, reason)
        self._lost.set()

    async def _apply_changes(self, buffer: EntryBuffer, last_revision: int) -> None:
        """Apply changes as they arrive.

        Args:
            buffer: Where they arrive.
            last_revision: Revision of the bucket at the beginning; its entry may be gone.
        """
        time_slice = TimeSlice()
        while True:
            if buffer.is_complete and buffer.is_empty:
                self._move(last_revision)
                self._current.set()
            self._hear(buffer)
            drained = await buffer.drain()
            with self._applying():
                for entry in drained:
                    await self._replica.apply(entry)
                    self._move(entry.revision)
                    await time_slice.checkpoint()

    def _hear(self, buffer: EntryBuffer) -> None:
        """Note the time if the replica has all entries.

        While it catches up, it is still as old as when it was interrupted: if it is interrupted
        again, delete markers may be gone.
        """
        if buffer.is_complete and buffer.is_empty and not self.is_applying:
            self.heard_s = time.time()

    @contextlib.contextmanager
    def _applying(self) -> Iterator[None]:
        self.is_applying = True
        try:
            yield
        finally:
            self.is_applying = False

    def _move(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        self._moved.set()
        self._moved = asyncio.Event()


@contextlib.asynccontextmanager
async def watch_bucket(
    bus: Bus,
    bucket: str,
    replica: BucketReplica,
    current: asyncio.Event | None = None,
    *,
    delete_marker_s: float = DELETE_MARKER_S,
    keeps_lost: bool = False,
    restore: Restore | None = None,
) -> AsyncIterator[BucketWatch]:
    """Keep ``replica`` up to date until the context ends; it is when the context begins.

    Args:
        bus: Connection to use.
        bucket: Name of the bucket.
        replica: Copy to keep up to date.
        current: Set here while the replica is up to date.
        delete_marker_s: How long delete markers stay in the bucket at least.
        keeps_lost: Whether the replica stays as it is when NATS has lost the bucket.
        restore: Called before the first ``replace``, and again if that fails.
    """
    current = current or asyncio.Event()
    watch = BucketWatch(
        bus, bucket, replica, current, delete_marker_s, keeps_lost=keeps_lost, restore=restore
    )
    bus.on_disconnect(watch.pause)
    bus.on_reconnect(watch.restart)
    async with run_in_background(watch.run(), f"the watch of bucket {bucket}"):
        await current.wait()
        yield watch
