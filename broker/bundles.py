"""Bundles in the JetStream object store: a component version's code under its content hash.

Written once and never changed, in the format that ``nats object`` reads. Reading goes its own
way: ``ObjectStore.get`` of nats-py falls to 8 MB/s at 50 MB and waits for ever when the connection
breaks, a pull consumer gives 300-600 MB/s and has a time limit.
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

from broker.bus import Bus
from broker.jetstream import WRONG_LAST_SEQUENCE, Writes, reported
from model.errors import InternalError, NotFound

BUCKET = "kubefox-bundles"

_STREAM = f"OBJ_{BUCKET}"
_FETCH_CHUNKS = 64
_FETCH_S = 5

KEEP_S = 3600.0
"""How long a bundle stays at least, after it was stored or a client was told that it is there."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that is stored.

    Attributes:
        hash: Content hash.
        size_bytes: As it is stored.
        claimed_at_s: Unix time at which it was stored or claimed last; 0 is unknown, long ago.
    """

    hash: str
    size_bytes: int
    claimed_at_s: float

    @property
    def is_unclaimed(self) -> bool:
        """Whether nobody relies on it for having been told that it is there."""
        return time.time() - self.claimed_at_s >= KEEP_S


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
        """Store a bundle under its content hash; one that is there already is claimed.

        Raises:
            NatsUnavailable: NATS does not answer. Nothing can be read under the hash until all
                of it is stored.
        """
        if not await self.claim([digest]):
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

    async def claim(self, digests: Iterable[str]) -> frozenset[str]:
        """Return those of ``digests`` that have no bundle; the others stay for ``KEEP_S``.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        wanted = sorted(set(digests))
        claimed = await asyncio.gather(*(self._claim(digest) for digest in wanted))
        return frozenset(each for each, here in zip(wanted, claimed, strict=True) if not here)

    async def held(self) -> tuple[Held, ...]:
        """Return all bundles.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with reported(self._bus, "list bundles"):
            try:
                infos = await self._objects.list(ignore_deletes=True)
            except NotFoundError:
                return ()
        return tuple(_to_held(info) for info in infos)

    async def remove(self, digest: str) -> bool:
        """Remove a bundle; return False, and leave it, if somebody has claimed it.

        One that does not exist is no error.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with reported(self._bus, f"remove bundle {digest}"):
            found = await self._meta(digest)
            if found is None:
                return True
            info, revision = found
            if not _to_held(info).is_unclaimed:
                return False
            chunks = f"$O.{BUCKET}.C.{info.nuid}"
            deleted = api.ObjectInfo(name=digest, bucket=BUCKET, nuid=info.nuid, deleted=True)
            marker = await self._write_meta(deleted, revision)
            if marker is None:
                return False
            jetstream = self._bus.jetstream()
            await jetstream.purge_stream(_STREAM, subject=chunks)
            # By its sequence: what somebody has stored in the meantime stays.
            await jetstream.purge_stream(_STREAM, seq=marker + 1, subject=_meta_subject(digest))
        return True

    async def _claim(self, digest: str) -> bool:
        """Return whether there is a bundle; if so, it has just been claimed."""
        with reported(self._bus, f"look for bundle {digest}"):
            while (found := await self._meta(digest)) is not None:
                info, revision = found
                # Half of the time is enough, and most deploys claim nothing anew.
                if time.time() - _to_held(info).claimed_at_s < KEEP_S / 2:
                    return True
                info.mtime = datetime.now(UTC).isoformat()
                if await self._write_meta(info, revision) is not None:
                    return True
        return False

    async def _meta(self, digest: str) -> tuple[api.ObjectInfo, int] | None:
        """Return what the object store says of a bundle, and its revision; None without one."""
        try:
            message = await self._bus.jetstream().get_last_msg(_STREAM, _meta_subject(digest))
        except NotFoundError:
            return None
        info = api.ObjectInfo.from_response(json.loads(message.data or b"{}"))
        return None if info.deleted else (info, message.seq or 0)

    async def _write_meta(self, info: api.ObjectInfo, revision: int) -> int | None:
        """Replace what has ``revision`` and return the new one; None if it has another by now."""
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


def _meta_subject(digest: str) -> str:
    return f"$O.{BUCKET}.M.{base64.urlsafe_b64encode(digest.encode()).decode()}"


def _to_held(info: api.ObjectInfo) -> Held:
    claimed_at_s = 0.0
    with contextlib.suppress(ValueError, TypeError):
        claimed_at_s = datetime.fromisoformat(info.mtime or "").timestamp()
    return Held(hash=info.name, size_bytes=info.size or 0, claimed_at_s=claimed_at_s)


def _object_digest(data: bytes) -> str:
    return "SHA-256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
