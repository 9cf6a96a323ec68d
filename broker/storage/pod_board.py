"""The pod board: the status of every pod, published by reconcilers and read by all processes.

KV bucket ``kubefox-pods``: one PodStatus under ``<app>.<component>.<hash>.<pod>``, one IdleVersion
under ``<app>.<component>.<hash>`` for a version whose pods were stopped because it was not used,
one RunnerStatus under ``runner.<name>`` for each pod runner, and one RecentUse.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec
from nats.js.kv import KeyValue

from broker.nats.bus import Bus
from broker.nats.entry_buffer import WatchedEntry
from broker.nats.jetstream import ensure_bucket, translated_errors
from broker.nats.watch import DELETE_MARKER_S, EntryBatches, watch_bucket
from broker.storage.board_index import BoardIndex
from broker.storage.ended_pods import EndedPods
from kubefox.decoding import DECODE_ERRORS
from kubefox.distill import Version
from kubefox.pod import IdleVersion, PodPhase, PodStatus, RecentUse, RunnerStatus
from routing.change_log import ChangeLog

logger = logging.getLogger(__name__)

BUCKET = "kubefox-pods"

_encode = msgspec.json.Encoder().encode
BoardEntry = PodStatus | IdleVersion | RunnerStatus | RecentUse
"""An entry of the board, stored under its ``key``."""
BoardListener = Callable[[str | None, BoardEntry | None, BoardEntry | None], None]
"""Called with the key that changed and its entries before and after; the key is None if all entries
were read again."""

# By the number of dots in a key.
_DECODERS: dict[int, Callable[[bytes], BoardEntry]] = {
    3: msgspec.json.Decoder(PodStatus).decode,
    2: msgspec.json.Decoder(IdleVersion).decode,
    1: msgspec.json.Decoder(RunnerStatus).decode,
    0: msgspec.json.Decoder(RecentUse).decode,
}


class PodBoard:
    """Publishes and reads pods' statuses; created by ``open_pod_board``.

    Attributes:
        changes: Number of changes that this process has seen; for ``wait_change``.
        revision: The highest KV revision that the board shows.
    """

    def __init__(self, bus: Bus, bucket: KeyValue, marker_s: float) -> None:
        self._bus = bus
        self._bucket = bucket
        self._marker_s = marker_s
        self._entries: dict[str, BoardEntry] = {}
        self._index = BoardIndex()
        self._ended = EndedPods()
        self._listeners: list[BoardListener] = []
        self._changed = asyncio.Event()
        self.changes = 0
        self.revision = 0

    @property
    def statuses(self) -> tuple[PodStatus, ...]:
        """The status of every pod, sorted by key."""
        return tuple(entry for entry in self._sorted() if isinstance(entry, PodStatus))

    @property
    def idle_versions(self) -> tuple[IdleVersion, ...]:
        """Every idle component version, sorted by key."""
        return tuple(entry for entry in self._sorted() if isinstance(entry, IdleVersion))

    @property
    def runners(self) -> tuple[RunnerStatus, ...]:
        """Every pod runner, sorted by name."""
        return tuple(entry for entry in self._sorted() if isinstance(entry, RunnerStatus))

    @property
    def recently_used(self) -> frozenset[str]:
        """Hashes of the versions that were used lately, as the leading runner last found them."""
        found = (entry for entry in self._entries.values() if isinstance(entry, RecentUse))
        return frozenset(digest for entry in found for digest in entry.hashes)

    def pods_of_runner(self, name: str) -> tuple[PodStatus, ...]:
        """Return the pods of one pod runner."""
        return tuple(status for status in self.statuses if status.runner == name)

    def pods_of(self, version: Version) -> tuple[PodStatus, ...]:
        """Return the pods of one component version."""
        return tuple(self._index.pods_of(version))

    def pods_known_since_us(self, version: Version) -> int:
        """Return the time of the platform in µs since which no pod of a version has ended."""
        return self._ended.since_us(version)

    def ready_versions(self) -> AbstractSet[Version]:
        """Return the component versions that accept events: those with a ready pod, or idle.

        The result is a view, which changes with the board.
        """
        return self._index.accepting

    @property
    def idle_marks(self) -> Mapping[Version, IdleVersion]:
        """The idle component versions. A view, which changes with the board."""
        return self._index.idle_marks

    @property
    def changed_versions(self) -> ChangeLog[Version]:
        """The component versions whose pods or idle mark have changed."""
        return self._index.changed_versions

    @property
    def entries(self) -> Iterable[BoardEntry]:
        """All entries as they are now, in no order."""
        return tuple(self._entries.values())

    def shows(self, entry: BoardEntry) -> bool:
        """Return whether the board has exactly this entry."""
        return self._entries.get(entry.key) == entry

    async def wait_runner(self, runner: RunnerStatus) -> None:
        """Return when the board shows this start of a pod runner."""
        while not self.shows(runner):
            await self.wait_change(self.changes)

    def has_replica(self, pod: PodStatus) -> bool:
        """Return whether another pod that is ready serves the version of ``pod``."""
        others = self.pods_of(pod.version)
        return any(other.phase is PodPhase.READY and other.id != pod.id for other in others)

    async def wait_change(self, after: int) -> int:
        """Return ``changes`` as soon as it is above ``after``."""
        while self.changes <= after:
            await self._changed.wait()
        return self.changes

    def listen(self, listener: BoardListener) -> None:
        """Call ``listener`` at each change, before the waiters run. It must be short."""
        self._listeners.append(listener)

    async def publish(self, entry: BoardEntry) -> None:
        """Write an entry. Only its reconciler writes it, so the last write is the valid one.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with translated_errors(self._bus, f"write status {entry.key}"):
            await self._bucket.put(entry.key, _encode(entry))

    async def remove(self, key: str) -> None:
        """Remove the entry of a pod or an idle version.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with translated_errors(self._bus, f"remove status {key}"):
            await self._bucket.purge(key, msg_ttl=self._marker_s)

    async def replace(self, batches: EntryBatches) -> None:
        """See ``broker.nats.watch.BucketReplica``."""
        replacement: dict[str, BoardEntry] = {}
        async for entries in batches:
            for entry in entries:
                _apply(replacement, entry)
                self.revision = max(self.revision, entry.revision)
        for key in self._entries.keys() - replacement.keys():
            self._note_end(self._entries[key])
        self._entries = replacement
        self._index.clear()
        for found in replacement.values():
            if isinstance(found, PodStatus | IdleVersion):
                self._index.put(found)
        self._notify(None)

    async def apply(self, entry: WatchedEntry) -> None:
        """See ``broker.nats.watch.BucketReplica``."""
        before = self._entries.get(entry.key)
        _apply(self._entries, entry)
        after = self._entries.get(entry.key)
        if isinstance(after, PodStatus | IdleVersion):
            self._index.put(after)
        elif isinstance(before, PodStatus | IdleVersion):
            self._index.remove(before)
            self._note_end(before)
        self.revision = max(self.revision, entry.revision)
        self._notify(entry.key, before, after)

    def _note_end(self, entry: BoardEntry) -> None:
        if isinstance(entry, PodStatus):
            self._ended.note(entry.version)

    def _sorted(self) -> Iterator[BoardEntry]:
        return (self._entries[key] for key in sorted(self._entries))

    def _notify(
        self, key: str | None, before: BoardEntry | None = None, after: BoardEntry | None = None
    ) -> None:
        self.changes += 1
        for listener in self._listeners:
            listener(key, before, after)
        self._changed.set()
        self._changed = asyncio.Event()


@contextlib.asynccontextmanager
async def open_pod_board(bus: Bus, *, marker_s: float = DELETE_MARKER_S) -> AsyncIterator[PodBoard]:
    """Open the board, create its bucket if it is missing, and follow it until the context ends.

    Args:
        bus: Connection to use.
        marker_s: How long the server keeps the delete marker of a removed entry.

    Yields:
        The board, once it shows the content of the bucket.

    Raises:
        NatsUnavailable: The server has no JetStream, or does not answer.
    """
    with translated_errors(bus, f"open bucket {BUCKET}"):
        bucket = await ensure_bucket(bus, BUCKET)
    board = PodBoard(bus, bucket, marker_s)
    async with watch_bucket(bus, BUCKET, board):
        yield board


def _apply(entries: dict[str, BoardEntry], change: WatchedEntry) -> BoardEntry | None:
    """Store, replace or remove the entry that a change of the bucket concerns, and return it."""
    entry = _decode(change)
    if entry is None:
        entries.pop(change.key, None)
    else:
        entries[change.key] = entry
    return entry


def _decode(change: WatchedEntry) -> BoardEntry | None:
    if change.value is None:
        return None
    try:
        return _DECODERS[change.key.count(".")](change.value)
    except (*DECODE_ERRORS, KeyError):
        logger.exception("ignored an entry of the pod board that cannot be read: %s", change.key)
        return None
