"""The control plane's data in JetStream KV, and the Snapshot of it in every process.

Every process watches the whole bucket. While NATS is down, it continues with its last snapshot, and
``is_current`` is False.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from nats.js.kv import KeyValue

from broker.nats.bus import Bus
from broker.nats.entry_buffer import WatchedEntry
from broker.nats.watch import BucketWatch, EntryBatches, watch_bucket
from broker.runtime import gc_tuning
from broker.runtime.background import run_in_background
from broker.runtime.cooperative import TIME_SLICE_S, TimeSlice
from broker.storage.checkpoint import Checkpoint, CurrentRecords
from broker.storage.key_encryption import KeyEncryption
from broker.storage.platform_keys import PlatformKeys, open_keys
from broker.storage.record_access import RecordAccess
from broker.storage.records_bucket import BUCKET, open_bucket
from broker.storage.releases_behind import AT_ONCE, ReleasesBehind
from broker.storage.sealed_records import SealedRecords
from broker.storage.usage_follower import UsageFollower
from kubefox import records
from kubefox.errors import InvalidEvent
from kubefox.records import PLATFORM_KEYS, Change
from routing.change_log import ChangeLog
from routing.snapshot.route_bindings import CACHE_BYTES
from routing.snapshot.snapshot import Snapshot, SnapshotBuilder
from routing.snapshot.usage_index import UsageIndex

logger = logging.getLogger(__name__)

SnapshotListener = Callable[[Snapshot, Snapshot, str | None], None]
"""Called with the snapshots before and after a change, and the key that changed; the key is None if
all records were read again."""


class Store(RecordAccess):
    """The records, and the snapshot of them in this process; created by ``open_store``.

    Attributes:
        checkpoint: Of the records of this process.
        keys: The platform's keys.
        snapshot: The current snapshot; replaced at each change.
        changes: KV keys of the records that have changed in the snapshot.
    """

    _watch: BucketWatch

    def __init__(
        self,
        bus: Bus,
        bucket: KeyValue,
        current: asyncio.Event,
        time_slice_s: float,
        usage: UsageFollower | None,
        route_cache_bytes: int,
        keys: PlatformKeys,
        checkpoint_file: Path | None,
    ) -> None:
        super().__init__(bus, bucket, SealedRecords(keys))
        self._time_slice_s = time_slice_s
        self._behind = ReleasesBehind(time_slice_s)
        self._current = current
        self._changed = asyncio.Event()
        self._usage = usage
        self._listeners: list[SnapshotListener] = []
        self._route_cache_bytes = route_cache_bytes
        self.keys = keys
        self.snapshot = self._empty()
        self.checkpoint = Checkpoint(
            checkpoint_file, bus, self.sealed_records, keys, self.snapshot.records
        )
        self.changes: ChangeLog[str] = ChangeLog()

    @property
    def is_current(self) -> bool:
        """Whether the snapshot has followed the bucket up to now."""
        # nats-py calls its disconnect callback some loop iterations after the connection is lost.
        return self._bus.is_ready and self._current.is_set()

    def current_records(self) -> CurrentRecords | None:
        """Return the records and how current they are; None while they may be behind NATS."""
        info = self._watch.info
        if info is None or not self.is_current:
            return None
        return CurrentRecords(self.snapshot.records, info, self._watch.heard_s)

    @property
    def is_clustered(self) -> bool:
        """Whether the bucket is in a NATS cluster."""
        return self._bus.is_clustered

    @property
    def revision(self) -> int:
        """Revision of the bucket up to which the snapshot holds all writes."""
        return self._watch.revision

    def listen(self, listener: SnapshotListener) -> None:
        """Call ``listener`` at each change, before this store's waiters run. It must be short."""
        self._listeners.append(listener)

    async def wait_revision(self, revision: int) -> Snapshot:
        """Return the snapshot as soon as it holds ``revision``, for example an own write."""
        while self.snapshot.revision < revision:
            await self._changed.wait()
        return self.snapshot

    async def wait_change(self, seen: int) -> Snapshot:
        """Return the snapshot as soon as its revision is not ``seen``.

        It is a lower one when NATS was restored to an older state.
        """
        while self.snapshot.revision == seen:
            await self._changed.wait()
        return self.snapshot

    async def wait_other(self, snapshot: Snapshot) -> None:
        """Return as soon as another snapshot is current; one that is still behind may be missed."""
        while self.snapshot is snapshot:
            await self._changed.wait()

    async def wait_routed(self, environment: str) -> None:
        """Return as soon as all releases follow the latest record of an environment."""
        followed = set(self.snapshot.release_index.behind.values())
        if any(entry.record.name == environment for entry in followed):
            await self._behind.wait_none()

    async def refresh_behind(self) -> None:
        """Make the releases anew that a change has left behind, until cancelled."""
        await self._behind.run(lambda: self.snapshot, self._replace_routes)

    async def usage(self) -> UsageIndex:
        """Return the usage index, once it is about ``snapshot``.

        It moves with the snapshot: do not await anything between this and the use of the index.

        Raises:
            RuntimeError: The store was opened without the index.
        """
        if self._usage is None:
            raise RuntimeError("the store of this process was opened without a usage index")
        return await self._usage.current()

    def begin_usage(self) -> None:
        """Begin with the usage index, if there is one; see ``open_store``."""
        if self._usage is not None:
            self._usage.begin()

    async def wait_beyond(self, revision: int) -> None:
        """Return as soon as the ``revision`` of this store is above ``revision``."""
        await self._watch.wait_beyond(revision)

    @property
    def is_applying(self) -> bool:
        """Whether changes that have arrived are being applied, which takes time for large ones."""
        return self._watch.is_applying

    async def replace(self, batches: EntryBatches) -> None:
        """See ``broker.nats.watch.BucketReplica``."""
        async with self._behind.turn:
            await self._replace(batches)

    async def _replace(self, batches: EntryBatches) -> None:
        builder = SnapshotBuilder(self._empty(), restored=self.checkpoint.take())
        time_slice = TimeSlice(self._time_slice_s)
        # The entries come in the order of their writes, the keys perhaps after what they decrypt.
        await self.keys.restart()
        with gc_tuning.collection_paused():
            async for entries in batches:
                for entry in entries:
                    if entry.key == PLATFORM_KEYS:
                        await self._follow_keys(entry)
                    if (change := self._to_change(entry)) is not None:
                        builder.add(change)
                    await time_slice.checkpoint()
            await self._behind.build(builder.steps())
            self._publish(builder.finish(), None)
        self.changes.reset()
        if self._usage is not None:
            self._usage.rebuild(self.snapshot)

    async def apply(self, entry: WatchedEntry) -> None:
        """See ``broker.nats.watch.BucketReplica``."""
        if entry.key == PLATFORM_KEYS:
            await self._follow_keys(entry)
        async with self._behind.turn:
            builder = SnapshotBuilder(self.snapshot, AT_ONCE)
            if (change := self._to_change(entry)) is not None:
                builder.add(change)
            await self._behind.build(builder.steps())
            self._publish(builder.finish(), entry.key)
            self.changes.add(entry.key)
            if self._usage is not None:
                await self._usage.follow(self.snapshot, (entry.key,))

    async def _replace_routes(self, snapshot: Snapshot) -> None:
        """Replace the snapshot by one with the same records."""
        self.snapshot = snapshot
        self._behind.note(snapshot)
        if not snapshot.release_index.behind:
            self._wake_waiting()
        if self._usage is not None:
            await self._usage.follow(snapshot, ())

    async def _follow_keys(self, entry: WatchedEntry) -> None:
        if entry.value is not None:
            await self.keys.load(entry.value, entry.revision)

    def _to_change(self, entry: WatchedEntry) -> Change | None:
        """Return the change; None for a key of another kind or a value that cannot be decoded."""
        key, value = entry.key, entry.value
        if records.kind_of(key) not in records.KINDS:
            return None
        try:
            record = None if value is None else self.sealed_records.decode(key, value)
        except InvalidEvent as error:
            logger.error("ignored a record of the control plane: %s", error)  # noqa: TRY400
            return None
        return Change(key=key, revision=entry.revision, record=record)

    def _empty(self) -> Snapshot:
        return Snapshot.empty(self._route_cache_bytes, has_labels=self._usage is not None)

    def _publish(self, snapshot: Snapshot, key: str | None) -> None:
        before, self.snapshot = self.snapshot, snapshot
        self._behind.note(snapshot)
        for listener in self._listeners:
            listener(before, snapshot, key)
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@contextlib.asynccontextmanager
async def open_store(
    bus: Bus,
    encryption: KeyEncryption,
    *,
    creates_keys: bool = False,
    time_slice_s: float = TIME_SLICE_S,
    with_usage: bool = True,
    route_cache_bytes: int = CACHE_BYTES,
    checkpoint_file: Path | None = None,
    usage_waits: bool = False,
) -> AsyncIterator[Store]:
    """Open the bucket, create it if it is missing, and watch it until the context ends.

    The usage index may be whole later than the snapshot: ``Store.usage`` waits for it.

    Args:
        bus: Connection to use.
        encryption: Wraps the platform's data keys.
        creates_keys: Whether this process makes the keys of a new platform; others wait for them.
        time_slice_s: How long building a snapshot holds the event loop without yielding.
        with_usage: Whether to keep the usage index, which control and the pod runners need.
        route_cache_bytes: Memory for the routes of contexts.
        checkpoint_file: Where a checkpoint is kept; None for nowhere.
        usage_waits: Whether the usage index waits for ``Store.begin_usage`` for some time.

    Yields:
        The store, once its snapshot is current.

    Raises:
        InvalidRequest: The key-encryption key is missing, or another one.
        NatsUnavailable: The server has no JetStream, or does not answer.
    """
    keys = await open_keys(bus, encryption, creates=creates_keys)
    bucket = await open_bucket(bus)
    current = asyncio.Event()
    usage = UsageFollower(time_slice_s, waits=usage_waits) if with_usage else None
    store = Store(
        bus, bucket, current, time_slice_s, usage, route_cache_bytes, keys, checkpoint_file
    )
    async with contextlib.AsyncExitStack() as stack:
        if usage is not None:
            following = run_in_background(usage.run(), "the usage index")
            await stack.enter_async_context(following)
        refreshing = run_in_background(store.refresh_behind(), "releases of changed environments")
        await stack.enter_async_context(refreshing)
        watching = watch_bucket(
            bus, BUCKET, store, current, keeps_lost=True, restore=store.checkpoint.restore
        )
        store._watch = await stack.enter_async_context(watching)  # noqa: SLF001 - made here
        keeping = run_in_background(
            store.checkpoint.keep(store.current_records), "keeping a checkpoint"
        )
        await stack.enter_async_context(keeping)
        yield store
