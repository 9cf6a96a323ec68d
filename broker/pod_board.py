"""The pod board: what every pod is doing, published by reconcilers and read by everyone else.

KV bucket ``kubefox-pods``: one PodStatus under ``<app>.<component>.<hash>.<pod>``, and one Sleeper
under ``<app>.<component>.<hash>`` for a version whose pods were stopped because nobody used it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

import msgspec
from nats.js.kv import KeyValue

from broker.arrivals import Entry
from broker.bus import Bus
from broker.follow import MARKER_S, Batches, follow
from broker.jetstream import reported
from broker.store import ensure_bucket
from model.decoding import UNREADABLE
from model.distill import Version
from model.pod import PodPhase, PodStatus, Sleeper

logger = logging.getLogger(__name__)

BUCKET = "kubefox-pods"

_encode = msgspec.json.Encoder().encode
_decode_status = msgspec.json.Decoder(PodStatus).decode
_decode_sleeper = msgspec.json.Decoder(Sleeper).decode
_DOTS_OF_A_POD = 3

OnBoard = PodStatus | Sleeper
"""What the board shows, each under its key."""


class PodBoard:
    """Publishes and reads pods' statuses; made by ``open_pod_board``.

    Attributes:
        changes: Counts the changes seen by this process; for ``wait_change``.
    """

    def __init__(self, bus: Bus, bucket: KeyValue) -> None:
        """Wrap an existing bucket; see ``open_pod_board``."""
        self._bus = bus
        self._bucket = bucket
        self._shown: dict[str, OnBoard] = {}
        self._changed = asyncio.Event()
        self.changes = 0

    @property
    def statuses(self) -> tuple[PodStatus, ...]:
        """Every pod there is, by key."""
        return tuple(each for each in self._in_order() if isinstance(each, PodStatus))

    @property
    def sleepers(self) -> tuple[Sleeper, ...]:
        """Every component version that sleeps, by key."""
        return tuple(each for each in self._in_order() if isinstance(each, Sleeper))

    @property
    def keys(self) -> frozenset[str]:
        """Keys of all that it shows."""
        return frozenset(self._shown)

    def ready_versions(self) -> frozenset[Version]:
        """Return the component versions that take events: a pod is ready, or they sleep."""
        return frozenset(
            each.version
            for each in self._shown.values()
            if isinstance(each, Sleeper) or each.phase is PodPhase.READY
        )

    async def wait_change(self, after: int) -> int:
        """Return ``changes`` as soon as it is above ``after``."""
        while self.changes <= after:
            await self._changed.wait()
        return self.changes

    async def publish(self, shown: OnBoard) -> None:
        """Write what is to be shown; only its reconciler does, so the last one written is true.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with reported(self._bus, f"write status {shown.key}"):
            await self._bucket.put(shown.key, _encode(shown))

    async def remove(self, key: str) -> None:
        """Take a pod, or a sleeper, off the board: it is no more.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with reported(self._bus, f"remove status {key}"):
            await self._bucket.purge(key, msg_ttl=MARKER_S)

    async def replace(self, batches: Batches) -> None:
        """See ``broker.follow.Mirror``."""
        shown: dict[str, OnBoard] = {}
        async for entries in batches:
            for entry in entries:
                _note(shown, entry)
        self._shown = shown
        self._tell()

    async def change(self, entry: Entry) -> None:
        """See ``broker.follow.Mirror``."""
        _note(self._shown, entry)
        self._tell()

    def _in_order(self) -> Iterator[OnBoard]:
        return (self._shown[key] for key in sorted(self._shown))

    def _tell(self) -> None:
        self.changes += 1
        self._changed.set()
        self._changed = asyncio.Event()


@contextlib.asynccontextmanager
async def open_pod_board(bus: Bus) -> AsyncIterator[PodBoard]:
    """Open the board, made if it is missing, and follow it until the context ends.

    Yields:
        The board, once it shows what the bucket holds.

    Raises:
        NatsUnavailable: The server has no JetStream, or does not answer.
    """
    with reported(bus, f"open bucket {BUCKET}"):
        bucket = await ensure_bucket(bus, BUCKET)
    board = PodBoard(bus, bucket)
    async with follow(bus, BUCKET, board):
        yield board


def _note(shown: dict[str, OnBoard], entry: Entry) -> None:
    found = _read(entry)
    if found is None:
        shown.pop(entry.key, None)
    else:
        shown[entry.key] = found


def _read(entry: Entry) -> OnBoard | None:
    if entry.value is None:
        return None
    decode = _decode_status if entry.key.count(".") == _DOTS_OF_A_POD else _decode_sleeper
    try:
        return decode(entry.value)
    except UNREADABLE:
        logger.exception("status %s cannot be read", entry.key)
        return None
