"""Encrypt secrets again that are not encrypted with the current data key, and erase the old bytes.

Such records are there after a data key was replaced, and after an upgrade from a version of the
platform that did not encrypt them. A record that changes meanwhile is encrypted by its writer. The
work can be interrupted and repeated at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from nats.js import api
from nats.js.errors import NotFoundError

from broker.nats.bus import Bus
from broker.nats.entry_buffer import is_deletion
from broker.nats.jetstream import translated_errors
from broker.nats.ordered_consumer import StreamMessage, consume_in_order
from broker.storage import past_records
from broker.storage.past_records import PastRecord
from broker.storage.records_bucket import STREAM, erase, record_errors, subject_of
from broker.storage.sealed_records import SealedRecords, is_outdated
from kubefox.delivery import CONTEXT_LIFE_S
from kubefox.errors import FoxError, InvalidEvent, NatsUnavailable, RevisionConflict

logger = logging.getLogger(__name__)

SCAN_TIMEOUT_S = 120.0
MAX_AT_ONCE = 16
_SUBJECTS = ("environment.>", "virtual-environment.>", "manifest.>", f"{past_records.PREFIX}>")


class Outdated(msgspec.Struct):
    """A revision whose secrets are not encrypted with the current data key.

    Attributes:
        key: Key of the record.
        revision: The revision.
        next: The revision after it; 0 if it is the latest one.
    """

    key: str
    revision: int
    next: int = 0


class _Scan:
    """Reads all revisions of the records that may have secrets, and keeps the outdated ones."""

    is_full = False

    def __init__(self, data_key: str) -> None:
        self._data_key = data_key
        self._latest: dict[str, Outdated] = {}
        self.found: list[Outdated] = []
        self.ended = asyncio.Event()
        self.loss = ""

    def add(self, message: StreamMessage) -> None:
        """See ``broker.nats.ordered_consumer.StreamReader``."""
        key = message.subject.decode().removeprefix(subject_of(""))
        if (before := self._latest.pop(key, None)) is not None:
            before.next = message.sequence
        if not is_deletion(message.headers) and is_outdated(message.payload, self._data_key):
            outdated = self._latest[key] = Outdated(key, message.sequence)
            self.found.append(outdated)
        if not message.pending:
            self.ended.set()

    def lose(self, reason: str) -> None:
        """End the scan: messages may be missing."""
        self.loss = reason
        self.ended.set()


class Resealing:
    """Encrypts records again.

    Args:
        bus: Connection to use.
        records: Decrypts them, and encrypts them with the current data key.
        life_s: How long events may need a revision that was replaced.
    """

    def __init__(self, bus: Bus, records: SealedRecords, life_s: float = CONTEXT_LIFE_S) -> None:
        self._bus = bus
        self._jetstream = bus.jetstream()
        self._records = records
        self._life_s = life_s

    async def find(self, data_key: str) -> list[Outdated]:
        """Return all revisions that are not encrypted with a data key, in the order of writing.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        scan = _Scan(data_key)
        config = api.ConsumerConfig(
            filter_subjects=[subject_of(subject) for subject in _SUBJECTS],
            deliver_policy=api.DeliverPolicy.ALL,
        )
        with translated_errors(self._bus, f"read {STREAM}"):
            async with (
                consume_in_order(self._bus, STREAM, config, scan, scan.lose) as consumer,
                asyncio.timeout(SCAN_TIMEOUT_S),
            ):
                if consumer.pending:
                    await scan.ended.wait()
        if scan.loss:
            raise NatsUnavailable(f"{STREAM} cannot be read: {scan.loss}")
        return scan.found

    async def renew(self, outdated: Iterable[Outdated]) -> int:
        """Encrypt revisions again; return how many could not be decrypted, and were left.

        Raises:
            Unavailable: NATS does not answer, or a data key is missing.
        """
        by_key: dict[str, list[Outdated]] = {}
        for each in outdated:
            by_key.setdefault(each.key, []).append(each)
        places = asyncio.Semaphore(MAX_AT_ONCE)

        async def renew_all(revisions: list[Outdated]) -> int:
            async with places:
                return sum([await self._renew(revision) for revision in revisions])

        return sum(await asyncio.gather(*map(renew_all, by_key.values())))

    async def _renew(self, outdated: Outdated) -> bool:
        """Renew or erase one revision; return whether it could not be decrypted."""
        key, revision = outdated.key, outdated.revision
        value = await self._read(revision)
        if value is None:
            return False
        try:
            if key.startswith(past_records.PREFIX):
                is_done = await self._renew_past(outdated, value)
            else:
                is_done = await self._renew_record(outdated, value)
        except InvalidEvent as error:
            logger.error("%s@%d stays as it is: %s", key, revision, error)  # noqa: TRY400
            return True
        if is_done:
            await erase(self._bus, key, revision)
        return False

    async def _renew_record(self, outdated: Outdated, value: bytes) -> bool:
        key = outdated.key
        renewed = self._records.encode(key, self._records.decode(key, value))
        if past_records.is_kept(key):
            until_s = await self._needed_until_s(outdated)
            if until_s > time.time():
                past = PastRecord(until_s=until_s, record=msgspec.Raw(renewed))
                kept_as = past_records.past_key(key, outdated.revision)
                await self._write(kept_as, past_records.encode(past), None)
        return bool(outdated.next) or await self._write(key, renewed, outdated.revision)

    async def _renew_past(self, outdated: Outdated, value: bytes) -> bool:
        if outdated.next:
            return True
        past = past_records.decode(outdated.key, value)
        if past.until_s < time.time():
            return True
        key = past_records.original_key(outdated.key)
        renewed = self._records.encode(key, self._records.decode(key, bytes(past.record)))
        content = past_records.encode(msgspec.structs.replace(past, record=msgspec.Raw(renewed)))
        return await self._write(outdated.key, content, outdated.revision)

    async def erase_expired(self) -> None:
        """Erase the revisions that were kept apart and that no event can need any more.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        after = 0
        while (found := await self._next_past(after)) is not None:
            after = found.seq or 0
            key = (found.subject or "").removeprefix(subject_of(""))
            try:
                is_expired = past_records.decode(key, found.data or b"").until_s < time.time()
            except FoxError:
                continue  # It was deleted, or is none of ours.
            if is_expired:
                await erase(self._bus, key, after)

    async def _next_past(self, after: int) -> api.RawStreamMsg | None:
        with translated_errors(self._bus, f"read {STREAM}"):
            try:
                return await self._jetstream.get_msg(
                    STREAM, after + 1, subject_of(f"{past_records.PREFIX}>"), next=True
                )
            except NotFoundError:
                return None

    async def _needed_until_s(self, outdated: Outdated) -> float:
        """Return the time until which events may need a revision."""
        replaced = datetime.now(UTC)
        if outdated.next:
            reading = translated_errors(self._bus, f"read {STREAM}")
            # If it is not found, it was erased just now, so it is recent.
            with reading, contextlib.suppress(NotFoundError):
                found = await self._jetstream.get_msg(STREAM, outdated.next)
                replaced = found.time or replaced
        return replaced.timestamp() + self._life_s

    async def _read(self, revision: int) -> bytes | None:
        with translated_errors(self._bus, f"read {STREAM}"):
            try:
                return (await self._jetstream.get_msg(STREAM, revision)).data or b""
            except NotFoundError:
                return None

    async def _write(self, key: str, value: bytes, revision: int | None) -> bool:
        """Write a value; return False if the key has another revision than the expected one."""
        headers = {}
        if revision is not None:
            headers[api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value] = str(revision)
        try:
            with record_errors(self._bus, "write", key, writes=True):
                await self._jetstream.publish(subject_of(key), value, headers=headers)
        except RevisionConflict:
            return False
        return True
