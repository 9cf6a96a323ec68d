"""A JetStream KV bucket for plain data: created by its first write, read a page at a time.

Unlike the control plane's store it is not watched. A deleted key leaves nothing behind: its delete
marker is purged, so a bucket is as large as its entries, and a page has no gaps.

``broker.nats.kv_reads`` reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from nats.aio.msg import Msg
from nats.js import api
from nats.js.errors import APIError, NoStreamResponseError

from broker.nats.bus import Bus
from broker.nats.cluster_jetstream import WRONG_LAST_SEQUENCE
from broker.nats.jetstream import translated_errors
from broker.nats.kv_reads import PAUSES_S, BucketReads, next_page, revision_of
from broker.nats.leader_reads import LatestMessage
from broker.nats.missing_storage import make_bucket
from kubefox.errors import RevisionConflict

_OPERATION = "KV-Operation"
_WRITE_ID = api.Header.MSG_ID.value
_DELETED = "DEL"
_CREATE_ATTEMPTS = 3


class KvEntry(NamedTuple):
    """One key with its value; ``revision`` is the sequence in the stream."""

    key: str
    value: bytes
    revision: int


class KvBucket:
    """One bucket, which may not exist yet.

    Every method raises NatsUnavailable if NATS does not answer. A write may have succeeded then.

    Args:
        bus: Connection to use.
        name: Name of the bucket.
        ttl_s: Age at which entries are removed; None keeps them.
        needs_leader: See ``BucketReads``.
    """

    def __init__(
        self, bus: Bus, name: str, *, ttl_s: float | None = None, needs_leader: bool = False
    ) -> None:
        self._bus = bus
        self._jetstream = bus.jetstream()
        self._name = name
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._ttl_s = ttl_s
        self._reads = BucketReads(bus, name, needs_leader=needs_leader)

    async def get(self, key: str) -> KvEntry | None:
        """Return the entry, or None."""
        with self._translated_errors(f"read {key}"):
            found = await self._last(key)
        if found is None or _is_marker(found.headers):
            return None
        return KvEntry(key, found.value, found.revision)

    async def put(
        self, key: str, value: bytes, revision: int | None = None, *, write_id: str = ""
    ) -> int:
        """Write an entry and return its new revision.

        Args:
            key: Legal KV key.
            value: New value; it must fit in one message.
            revision: Revision that the entry must have; 0 requires that there is no entry, None
                accepts any.
            write_id: A second write with this id within two minutes has the outcome of the first.

        Raises:
            RevisionConflict: The entry has another revision.
        """
        with self._translated_errors(f"write {key}"):
            headers = {_WRITE_ID: f"{write_id}.{key}"} if write_id else {}
            if revision == 0:
                return await self._create(key, value, headers)
            return await self._publish(key, value, {**_expecting(revision), **headers})

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Delete an entry; it is not an error if there is none.

        Args:
            key: Legal KV key.
            revision: As in ``put``.

        Raises:
            RevisionConflict: The entry has another revision.
        """
        with self._translated_errors(f"delete {key}"):
            marker = await self._publish(key, b"", {**_expecting(revision), _OPERATION: _DELETED})
            # The marker hides the entry. The purge ends at the marker's sequence, so a value that
            # was written in the meantime stays.
            await self._jetstream.purge_stream(
                self._stream, seq=marker + 1, subject=f"{self._prefix}{key}"
            )

    async def page(
        self, pattern: str, after: int, *, max_entries: int, max_bytes: int
    ) -> tuple[list[KvEntry], int | None]:
        """Return entries in order of revision, and where the next page starts.

        The server filters and reads in one request (a direct-get batch). In a cluster, the page may
        still have an entry that was deleted some milliseconds before.

        Args:
            pattern: Keys to return, with wildcards.
            after: Only entries above this revision.
            max_entries: Largest number of entries.
            max_bytes: The page ends with the entry that reaches this many bytes of values.

        Returns:
            The entries, and ``after`` for the next page; None if this was the last page.
        """
        query = {
            "seq": after + 1,
            "next_by_subj": f"{self._prefix}{pattern}",
            "batch": max_entries,
            "max_bytes": max_bytes,
        }
        with self._translated_errors(f"list {pattern}"):
            read = await self._reads.page(self._prefix + pattern, after, json.dumps(query).encode())
            return self._to_page(read)

    def _to_page(self, messages: Sequence[Msg]) -> tuple[list[KvEntry], int | None]:
        *found, _ = messages
        entries = [self._to_entry(message) for message in found if not _is_marker(message.headers)]
        return entries, next_page(messages)

    def _to_entry(self, message: Msg) -> KvEntry:
        headers = message.headers or {}
        key = headers["Nats-Subject"].removeprefix(self._prefix)
        return KvEntry(key, message.data, revision_of(message))

    async def _create(self, key: str, value: bytes, headers: dict[str, str]) -> int:
        last = 0
        for _ in range(_CREATE_ATTEMPTS):
            with contextlib.suppress(RevisionConflict):
                return await self._publish(key, value, {**_expecting(last), **headers})
            # Either the entry exists, or its delete marker is about to be purged.
            found = await self._last(key)
            if found is not None and not _is_marker(found.headers):
                break
            last = found.revision if found else 0
        raise RevisionConflict(f"{key} exists")

    async def _publish(self, key: str, value: bytes, headers: dict[str, str]) -> int:
        subject = f"{self._prefix}{key}"
        try:
            ack = await self._write(subject, value, headers)
        except APIError as error:
            if error.err_code in WRONG_LAST_SEQUENCE:
                # A single server compares the revision before it looks for duplicates.
                if (own := await self._written_as(key, headers.get(_WRITE_ID))) is not None:
                    return own
                raise RevisionConflict(f"{key} was changed by another client") from error
            raise
        return ack.seq

    async def _write(self, subject: str, value: bytes, headers: dict[str, str]) -> api.PubAck:
        """Store a message; make the bucket if it is missing."""
        for pause_s in PAUSES_S:
            await asyncio.sleep(pause_s)
            with contextlib.suppress(NoStreamResponseError):
                return await self._jetstream.publish(subject, value, headers=headers or None)
            await make_bucket(self._bus, self._name, self._ttl_s)
        raise self._reads.no_answer()

    async def _written_as(self, key: str, write_id: str | None) -> int | None:
        """Return the revision of the entry if the write with this id has written it."""
        found = await self._last(key) if write_id else None
        is_own = found is not None and found.headers.get(_WRITE_ID) == write_id
        return found.revision if is_own and found is not None else None

    async def _last(self, key: str) -> LatestMessage | None:
        return await self._reads.last(f"{self._prefix}{key}")

    def _translated_errors(self, action: str) -> AbstractContextManager[None]:
        return translated_errors(self._bus, f"{action} in bucket {self._name}")


def _expecting(revision: int | None) -> dict[str, str]:
    if revision is None:
        return {}
    return {api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(revision)}


def _is_marker(headers: Mapping[str, str] | None) -> bool:
    return headers is not None and _OPERATION in headers
