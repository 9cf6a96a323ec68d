"""The pod board: what every pod is doing, published by reconcilers and read by everyone else.

KV bucket ``kubefox-pods``, one PodStatus under ``<app>.<component>.<hash>.<pod>``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import msgspec
from nats.js.kv import KeyValue

from broker.arrivals import Entry
from broker.bus import Bus
from broker.follow import Batches, follow
from broker.jetstream import reported
from broker.store import ensure_bucket
from model.decoding import UNREADABLE
from model.distill import Version
from model.pod import PodPhase, PodStatus

logger = logging.getLogger(__name__)

BUCKET = "kubefox-pods"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PodStatus).decode


class PodBoard:
    """Publishes and reads pods' statuses; made by ``open_pod_board``.

    Attributes:
        changes: Counts the changes seen by this process; for ``wait_change``.
    """

    def __init__(self, bus: Bus, bucket: KeyValue) -> None:
        """Wrap an existing bucket; see ``open_pod_board``."""
        self._bus = bus
        self._bucket = bucket
        self._statuses: dict[str, PodStatus] = {}
        self._changed = asyncio.Event()
        self.changes = 0

    @property
    def statuses(self) -> tuple[PodStatus, ...]:
        """Every pod there is, by key."""
        return tuple(self._statuses[key] for key in sorted(self._statuses))

    def ready_versions(self) -> frozenset[Version]:
        """Return the component versions of which at least one pod is ready."""
        return frozenset(
            (status.app, status.component, status.hash)
            for status in self._statuses.values()
            if status.phase is PodPhase.READY
        )

    async def wait_change(self, after: int) -> int:
        """Return ``changes`` as soon as it is above ``after``."""
        while self.changes <= after:
            await self._changed.wait()
        return self.changes

    async def publish(self, status: PodStatus) -> None:
        """Write a pod's status; only its reconciler does, so the last one written is true.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with reported(self._bus, f"write status of pod {status.id}"):
            await self._bucket.put(status.key, _encode(status))

    async def remove(self, key: str) -> None:
        """Take a pod off the board: it has ended and will not come back.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with reported(self._bus, f"remove status {key}"):
            await self._bucket.purge(key)

    async def replace(self, batches: Batches) -> None:
        """See ``broker.follow.Mirror``."""
        statuses: dict[str, PodStatus] = {}
        async for entries in batches:
            for entry in entries:
                _note(statuses, entry)
        self._statuses = statuses
        self._tell()

    async def change(self, entry: Entry) -> None:
        """See ``broker.follow.Mirror``."""
        _note(self._statuses, entry)
        self._tell()

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


def _note(statuses: dict[str, PodStatus], entry: Entry) -> None:
    status = _read(entry)
    if status is None:
        statuses.pop(entry.key, None)
    else:
        statuses[entry.key] = status


def _read(entry: Entry) -> PodStatus | None:
    if entry.value is None:
        return None
    try:
        return _decode(entry.value)
    except UNREADABLE:
        logger.exception("status of pod %s cannot be read", entry.key)
        return None
