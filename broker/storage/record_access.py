"""Reads and writes of single records in the bucket."""

from __future__ import annotations

import contextlib

from nats.js import api
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from broker.nats.bus import Bus
from broker.nats.jetstream import WriteHealth
from broker.storage import past_records
from broker.storage.deleted_records import purge_deleted
from broker.storage.records_bucket import (
    BUCKET,
    STREAM,
    record_errors,
    removes_revisions,
    subject_of,
)
from broker.storage.sealed_records import SealedRecords
from kubefox.errors import RevisionConflict
from kubefox.records import Record


class RecordAccess:
    """Reads and writes records in NATS.

    Args:
        bus: Connection to use.
        bucket: The bucket.
        sealed_records: Encodes and decodes records.

    Attributes:
        sealed_records: Encodes and decodes records.
    """

    def __init__(self, bus: Bus, bucket: KeyValue, sealed_records: SealedRecords) -> None:
        self._bus = bus
        self._bucket = bucket
        self._writes = WriteHealth(bus)
        self.sealed_records = sealed_records

    @property
    def is_writable(self) -> bool:
        """Whether the last write of this process succeeded."""
        return self._writes.is_writable

    async def get(self, key: str, revision: int | None = None) -> tuple[Record, int] | None:
        """Return the record under ``key`` and its revision, or None.

        Args:
            key: Key of the record, see ``kubefox.records``.
            revision: An earlier revision, from the history; None means the latest.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        try:
            with record_errors(self._bus, "read", key):
                entry = await self._bucket.get(key, revision)
        except KeyNotFoundError:
            if not revision:
                return None
            past = await past_records.read(self._bus, self._bucket, key, revision)
            return None if past is None else (self.sealed_records.decode(key, past), revision)
        return self.sealed_records.decode(key, entry.value or b""), entry.revision or 0

    async def create(self, key: str, record: Record) -> int:
        """Write a record that must not exist, and return its revision.

        Raises:
            RevisionConflict: The record exists.
            BodyTooLarge: The record does not fit in one message.
            NatsUnavailable: NATS does not answer; the record may or may not be written.
        """
        with self._writes.recorded(), record_errors(self._bus, "create", key, writes=True):
            return await self._bucket.create(key, self.sealed_records.encode(key, record))

    async def update(self, key: str, record: Record, revision: int) -> int:
        """Replace the record that has ``revision``, and return the new revision.

        Raises:
            RevisionConflict: The record has another revision.
            BodyTooLarge: The record does not fit in one message.
            NatsUnavailable: NATS does not answer; the record may or may not be written.
        """
        with self._writes.recorded(), record_errors(self._bus, "update", key, writes=True):
            return await self._bucket.update(key, self.sealed_records.encode(key, record), revision)

    async def put(self, key: str, record: Record | None, since: int) -> int:
        """Write or delete a record, if no record at all has changed since a revision.

        Args:
            key: Key of the record, see ``kubefox.records``.
            record: New content; None deletes the record.
            since: Revision of the bucket that the writer has read.

        Returns:
            The new revision of the record and of the bucket.

        Raises:
            RevisionConflict: A record, under any key, was written after ``since``.
            BodyTooLarge: The record does not fit in one message.
            NatsUnavailable: NATS does not answer; the record may or may not be written.
        """
        headers = {api.Header.EXPECTED_LAST_SEQUENCE.value: str(since)}
        if record is None:
            headers["KV-Operation"] = "DEL"
        action = "write" if record else "delete"
        with self._writes.recorded(), record_errors(self._bus, action, key, writes=True):
            value = self.sealed_records.encode(key, record) if record else b""
            if removes_revisions(key, value):
                headers[api.Header.ROLLUP.value] = "sub"
            jetstream = self._bus.jetstream()
            ack = await jetstream.publish(subject_of(key), value, headers=headers)
        return ack.seq

    async def purge_deleted(self, before_s: float, limit: int) -> int:
        """Remove what NATS keeps of deleted records; see ``broker.storage.deleted_records``."""
        with self._writes.recorded():
            return await purge_deleted(self._bus, BUCKET, before_s=before_s, limit=limit)

    async def create_if_missing(self, key: str, record: Record) -> None:
        """Write a record unless one exists under its key."""
        with contextlib.suppress(RevisionConflict):
            await self.create(key, record)

    async def delete(self, key: str, revision: int) -> None:
        """Delete the record that has ``revision``. Its earlier revisions stay readable.

        Raises:
            RevisionConflict: The record has another revision.
            NatsUnavailable: NATS does not answer; the record may or may not be deleted.
        """
        with self._writes.recorded(), record_errors(self._bus, "delete", key, writes=True):
            await self._bucket.delete(key, last=revision)

    async def last_revision(self) -> int:
        """Return the latest revision of the bucket, read from NATS.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with record_errors(self._bus, "read", BUCKET):
            info = await self._bus.jetstream().stream_info(STREAM)
        return info.state.last_seq
