"""Bundles in the JetStream object store: the code of a component version under its content hash.

A bundle is written once and never changed, in the format that ``nats object`` reads. It is read by
a pull consumer, which reaches 300-600 MB/s and has a timeout. ``ObjectStore.get`` of nats-py falls
to 8 MB/s at 50 MB, and waits for ever when the connection breaks.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from nats.js import api
from nats.js.errors import APIError, NotFoundError
from nats.js.object_store import ObjectStore

from broker.nats.bus import Bus
from broker.nats.cluster_jetstream import WRONG_LAST_SEQUENCE
from broker.nats.jetstream import WriteHealth, translated_errors
from broker.nats.missing_storage import find_or_make
from broker.nats.replicas import create_replicated
from kubefox.errors import InternalError, NotFound

BUCKET = "kubefox-bundles"

_STREAM = f"OBJ_{BUCKET}"
_FETCH_CHUNKS = 64
_FETCH_S = 5

KEEP_S = 3600.0
"""How long a bundle is kept at least after it was stored or claimed."""
CLAIMS_AT_ONCE = 32
"""Claims that one caller sends together: more of them would hold the loop and NATS up."""


class StoredBundle(msgspec.Struct, frozen=True, kw_only=True):
    """A stored bundle.

    Attributes:
        hash: Content hash.
        size_bytes: Size in the object store.
        claimed_at_s: Unix time at which it was last stored or claimed; 0 if unknown.
    """

    hash: str
    size_bytes: int
    claimed_at_s: float

    @property
    def is_unclaimed(self) -> bool:
        """Whether its last claim has expired, so that it may be removed."""
        return time.time() - self.claimed_at_s >= KEEP_S


class Bundles:
    """Reads and writes bundles; created by ``open_bundles``.

    The caller verifies a bundle before it stores it (``kubefox.bundle.verify``). A bundle that is
    read is checked against the digest of the object store.
    """

    def __init__(self, bus: Bus, objects: ObjectStore) -> None:
        self._bus = bus
        self._objects = objects
        self._writes = WriteHealth(bus)

    @property
    def is_writable(self) -> bool:
        """Whether the last write of this process succeeded."""
        return self._writes.is_writable

    async def put(self, digest: str, data: bytes) -> None:
        """Store a bundle under its content hash, or claim it if it exists.

        Raises:
            NatsUnavailable: NATS does not answer. A bundle can be read only once it is stored
                completely.
        """
        if not await self.claim([digest]):
            return
        with (
            self._writes.recorded(),
            translated_errors(self._bus, f"store bundle {digest}", writes=True),
        ):
            await self._objects.put(digest, data)

    async def get(self, digest: str) -> bytes:
        """Return the bundle of a content hash.

        Raises:
            NotFound: The bundle does not exist.
            InternalError: The bundle is damaged.
            NatsUnavailable: NATS does not answer.
        """
        info = await self._info(digest)
        if info is None:
            raise NotFound(f"bundle {digest} does not exist: deploy its component again")
        with translated_errors(self._bus, f"read bundle {digest}"):
            data = await self._read(info)
        if await asyncio.to_thread(_object_digest, data) != info.digest:
            raise InternalError(
                f"bundle {digest} is damaged: delete it with `nats object rm {BUCKET} {digest}`, "
                "and deploy its component again"
            )
        return data

    async def has(self, digest: str) -> bool:
        """Return whether the bundle of a content hash exists.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        return await self._info(digest) is not None

    async def claim(self, digests: Iterable[str]) -> frozenset[str]:
        """Claim bundles, so that they are kept for ``KEEP_S``, and return the missing digests.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        wanted = sorted(set(digests))
        missing: set[str] = set()
        for start in range(0, len(wanted), CLAIMS_AT_ONCE):
            batch = wanted[start : start + CLAIMS_AT_ONCE]
            claimed = await asyncio.gather(*map(self._claim, batch))
            missing.update(
                digest for digest, exists in zip(batch, claimed, strict=True) if not exists
            )
        return frozenset(missing)

    async def all(self) -> tuple[StoredBundle, ...]:
        """Return all stored bundles.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with translated_errors(self._bus, "list bundles"):
            try:
                infos = await self._objects.list(ignore_deletes=True)
            except NotFoundError:
                return ()
        return tuple(_to_stored_bundle(info) for info in infos)

    async def remove(self, digest: str) -> bool:
        """Remove a bundle if it exists, and return True; return False if it is claimed.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with translated_errors(self._bus, f"remove bundle {digest}"):
            found = await self._meta(digest)
            if found is None:
                return True
            info, revision = found
            if not _to_stored_bundle(info).is_unclaimed:
                return False
            chunks = f"$O.{BUCKET}.C.{info.nuid}"
            deleted = api.ObjectInfo(name=digest, bucket=BUCKET, nuid=info.nuid, deleted=True)
            marker = await self._write_meta(deleted, revision)
            if marker is None:
                return False
            jetstream = self._bus.jetstream()
            await jetstream.purge_stream(_STREAM, subject=chunks)
            # Up to its sequence only: a bundle that was stored in the meantime is kept.
            await jetstream.purge_stream(_STREAM, seq=marker + 1, subject=_meta_subject(digest))
        return True

    async def _claim(self, digest: str) -> bool:
        """Claim a bundle, and return whether it exists."""
        with translated_errors(self._bus, f"look for bundle {digest}"):
            while (found := await self._meta(digest)) is not None:
                info, revision = found
                # Renewing after half of the time saves a write for most deploys.
                if time.time() - _to_stored_bundle(info).claimed_at_s < KEEP_S / 2:
                    return True
                info.mtime = datetime.now(UTC).isoformat()
                if await self._write_meta(info, revision) is not None:
                    return True
        return False

    async def _meta(self, digest: str) -> tuple[api.ObjectInfo, int] | None:
        """Return the metadata of a bundle and their revision, or None if it does not exist."""
        try:
            message = await self._bus.jetstream().get_last_msg(_STREAM, _meta_subject(digest))
        except NotFoundError:
            return None
        info = api.ObjectInfo.from_response(json.loads(message.data or b"{}"))
        return None if info.deleted else (info, message.seq or 0)

    async def _write_meta(self, info: api.ObjectInfo, revision: int) -> int | None:
        """Replace metadata of a ``revision`` and return the new revision, or None on a conflict."""
        headers = {
            api.Header.ROLLUP.value: "sub",
            api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(revision),
        }
        payload = json.dumps(info.as_dict()).encode()
        try:
            ack = await self._bus.jetstream().publish(
                _meta_subject(info.name), payload, headers=headers
            )
        except APIError as error:
            if error.err_code in WRONG_LAST_SEQUENCE:
                return None
            raise
        return ack.seq

    async def _info(self, digest: str) -> api.ObjectInfo | None:
        with translated_errors(self._bus, f"look for bundle {digest}"):
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
    """Open the object store; make it, or wait for control to make it. There is nothing to close.

    Raises:
        NatsUnavailable: The server has no JetStream, or does not answer.
    """
    jetstream = bus.jetstream()
    with translated_errors(bus, f"open object store {BUCKET}"):
        objects = await find_or_make(
            bus,
            f"object store {BUCKET}",
            lambda: jetstream.object_store(BUCKET),
            lambda: create_replicated(
                bus, lambda replicas: jetstream.create_object_store(BUCKET, replicas=replicas)
            ),
        )
    return Bundles(bus, objects)


def _meta_subject(digest: str) -> str:
    return f"$O.{BUCKET}.M.{base64.urlsafe_b64encode(digest.encode()).decode()}"


def _to_stored_bundle(info: api.ObjectInfo) -> StoredBundle:
    claimed_at_s = 0.0
    with contextlib.suppress(ValueError, TypeError):
        claimed_at_s = datetime.fromisoformat(info.mtime or "").timestamp()
    return StoredBundle(hash=info.name, size_bytes=info.size or 0, claimed_at_s=claimed_at_s)


def _object_digest(data: bytes) -> str:
    return "SHA-256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
