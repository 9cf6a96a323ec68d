"""Bundles in the JetStream object store: a component version's code under its content hash.

Written once and never changed, in the format that ``nats object`` reads. Reading goes its own
way: ``ObjectStore.get`` of nats-py falls to 8 MB/s at 50 MB and waits for ever when the connection
breaks, a pull consumer gives 300-600 MB/s and has a time limit.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterable

from nats.js import api
from nats.js.errors import NotFoundError
from nats.js.object_store import ObjectStore

from broker.bus import Bus
from broker.jetstream import Writes, reported
from model.errors import InternalError, NotFound

BUCKET = "kubefox-bundles"

_STREAM = f"OBJ_{BUCKET}"
_FETCH_CHUNKS = 64
_FETCH_S = 5


class Bundles:
    """Reads and writes bundles; made by ``open_bundles``.

    What it stores has been verified by its caller (``model.bundle.verify``); what it reads is
    checked against the object store's own digest.
    """

    def __init__(self, bus: Bus, objects: ObjectStore) -> None:
        """Wrap an open object store; see ``open_bundles``."""
        self._bus = bus
        self._objects = objects
        self._writes = Writes(bus)

    @property
    def takes_writes(self) -> bool:
        """Whether the last bundle could be stored, as far as this process knows."""
        return self._writes.are_possible

    async def put(self, digest: str, data: bytes) -> None:
        """Store a bundle under its content hash; one that is there already is left alone.

        Raises:
            NatsUnavailable: NATS does not answer. Nothing can be read under the hash until all
                of it is stored.
        """
        if await self.has(digest):
            return
        with self._writes.noted(), reported(self._bus, f"store bundle {digest}", writes=True):
            await self._objects.put(digest, data)

    async def get(self, digest: str) -> bytes:
        """Return the bundle of a content hash.

        Raises:
            NotFound: There is none.
            NatsUnavailable: NATS does not answer.
        """
        info = await self._info(digest)
        if info is None:
            raise NotFound(f"there is no bundle {digest}")
        with reported(self._bus, f"read bundle {digest}"):
            data = await self._read(info)
        if await asyncio.to_thread(_object_digest, data) != info.digest:
            raise InternalError(f"bundle {digest} was damaged in the object store")
        return data

    async def has(self, digest: str) -> bool:
        """Return whether there is a bundle of a content hash.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        return await self._info(digest) is not None

    async def missing(self, digests: Iterable[str]) -> frozenset[str]:
        """Return those of ``digests`` that have no bundle.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        wanted = sorted(set(digests))
        present = await asyncio.gather(*(self.has(digest) for digest in wanted))
        return frozenset(each for each, here in zip(wanted, present, strict=True) if not here)

    async def list(self) -> frozenset[str]:
        """Return the content hashes of all bundles.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with reported(self._bus, "list bundles"):
            try:
                infos = await self._objects.list(ignore_deletes=True)
            except NotFoundError:
                return frozenset()
        return frozenset(info.name for info in infos)

    async def _info(self, digest: str) -> api.ObjectInfo | None:
        with reported(self._bus, f"look for bundle {digest}"):
            try:
                return await self._objects.get_info(digest)
            except NotFoundError:
                return None

    async def _read(self, info: api.ObjectInfo) -> bytes:
        config = api.ConsumerConfig(ack_policy=api.AckPolicy.NONE, inactive_threshold=_FETCH_S)
        subscription = await self._bus.jetstream().pull_subscribe(
            f"$O.{BUCKET}.C.{info.nuid}", stream=_STREAM, config=config
        )
        try:
            chunks: list[bytes] = []
            while len(chunks) < (info.chunks or 0):
                batch = min(_FETCH_CHUNKS, (info.chunks or 0) - len(chunks))
                messages = await subscription.fetch(batch, timeout=_FETCH_S)
                chunks.extend(message.data for message in messages)
            return b"".join(chunks)
        finally:
            await subscription.unsubscribe()


async def open_bundles(bus: Bus) -> Bundles:
    """Open the object store, made if it is missing; there is nothing to close.

    Raises:
        NatsUnavailable: The server has no JetStream, or does not answer.
    """
    jetstream = bus.jetstream()
    with reported(bus, f"open object store {BUCKET}"):
        try:
            objects = await jetstream.object_store(BUCKET)
        except NotFoundError:
            objects = await jetstream.create_object_store(BUCKET)
    return Bundles(bus, objects)


def _object_digest(data: bytes) -> str:
    return "SHA-256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
