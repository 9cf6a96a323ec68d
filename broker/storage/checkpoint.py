"""A checkpoint: a file with the records at one revision of the bucket, to start from.

A process with 300,000 records reads them from NATS in 4 s of CPU, and from a checkpoint in 1 s.
From NATS it then reads what was written after the checkpoint, as after a lost connection.

A checkpoint is used only if NATS still has the same history before its revision: the bucket was
made at the same time, the message with that revision has the same subject and time, and no mark of
a later deletion can be gone. In all other cases, and if the file cannot be read, all records are
read from NATS. A checkpoint is never needed; it may be removed at any time.

A fault in a checkpoint would be passed on to the next one, which is written from its records.
Therefore a checkpoint also tells how old the last one is of a process that had read all records
from NATS, and it is not used when that is too long ago.

The file is one of frames (``broker.storage.framed_file``): a header, then blocks of records
(``broker.storage.record_blocks``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec
from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import NotFoundError

from broker.nats.bus import Bus
from broker.nats.watch import DELETE_MARKER_S
from broker.runtime import gc_tuning
from broker.runtime.cancelling import cancellable
from broker.runtime.cooperative import TimeSlice
from broker.runtime.threads import in_thread, opened
from broker.storage import framed_file
from broker.storage.framed_file import FrameReader, FrameWriter, WriteLock
from broker.storage.platform_keys import PlatformKeys
from broker.storage.record_blocks import BlockReader, BlockWriter
from broker.storage.records_bucket import STREAM
from broker.storage.sealed_records import SealedRecords
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import FoxError
from routing.snapshot.packed_records import packed_format
from routing.snapshot.records import Records

logger = logging.getLogger(__name__)

MAX_AGE_S = DELETE_MARKER_S / 2
"""An older checkpoint is not used. The other half is for clocks that are wrong."""
MAX_CHAIN_S = DELETE_MARKER_S
"""So long after ``Header.read_at_s``, no checkpoint is written or used."""
RENEW_S = 86_400
"""A running process replaces a checkpoint whose records are so much older than its own."""
MIN_RECORDS = 10_000
"""With fewer records, a checkpoint would save less than 0.2 s."""
FIRST_S = 10.0
PAUSE_S = 60.0
"""Pauses before a process looks whether the checkpoint is outdated: the first, and all others on
average."""
CHANGED_SHARE = 16
"""A checkpoint is replaced after so many changes: the number of records divided by this."""
MAX_TRIES = 3
"""So often a process tries to start from its checkpoint; the connection to NATS may be lost."""

_READ_ERRORS = (OSError, ValueError, IndexError, FoxError, *DECODE_ERRORS)
_NATS_ERRORS = (NatsError, TimeoutError, FoxError)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The origin and the age of a checkpoint.

    Attributes:
        form: Version of the platform, and digest of the packed form of records.
        data_keys: Ids of the keys that the platform encrypted secrets with; when they change, the
            secrets are encrypted anew, and the file must not keep the earlier ones.
        created: Time at which the bucket was made.
        revision: Its records are those of this revision.
        subject: Subject of the message with this revision.
        stored: Time of that message.
        current_at_s: Unix time up to which the writer had followed the bucket.
        read_at_s: ``current_at_s`` of the last checkpoint whose writer had read all records from
            NATS: of this one, or of an earlier one that led to it.
        blocks: How many blocks follow.
    """

    form: str
    data_keys: tuple[str, ...]
    created: str
    revision: int
    subject: str
    stored: str
    current_at_s: float
    read_at_s: float
    blocks: int


class CurrentRecords(NamedTuple):
    """The records of a process that follows the bucket.

    Attributes:
        records: All records.
        info: State of the bucket that they were read from.
        current_at_s: Unix time up to which the process has followed the bucket.
    """

    records: Records
    info: api.StreamInfo
    current_at_s: float


class Checkpoint:
    """The checkpoint of a process's store. Several processes may use one file.

    Args:
        path: The file; without its folder, or if it is None, there is no checkpoint.
        bus: Connection that the bucket is compared on.
        sealed_records: Encodes and decodes records with secrets.
        keys: The platform's keys.
        empty: Records to start with.
    """

    def __init__(
        self,
        path: Path | None,
        bus: Bus,
        sealed_records: SealedRecords,
        keys: PlatformKeys,
        empty: Records,
    ) -> None:
        self._path = path
        self._bus = bus
        self._sealed_records = sealed_records
        self._keys = keys
        self._empty = empty
        self._restored: tuple[Records, float] | None = None
        self._tries = 0
        self._read_at_s = 0.0
        self._form = ""
        self.min_records = MIN_RECORDS

    async def restore(self, info: api.StreamInfo) -> int:
        """Read the checkpoint for ``take``, and return its revision; 0 if it cannot be used.

        Args:
            info: State of the bucket.
        """
        self._restored = None
        if self._path is None:
            return 0
        if self._tries < MAX_TRIES:
            with gc_tuning.collection_paused():
                self._restored = await self._read(self._path, info)
        else:
            logger.warning("%d starts from checkpoint %s have failed", self._tries, self._path)
        return 0 if self._restored is None else self._restored[0].revision

    def take(self) -> Records | None:
        """Return the records that were restored, once; None if all are to be read from NATS."""
        restored, self._restored = self._restored, None
        self._tries += restored is not None
        records, self._read_at_s = restored or (None, 0.0)
        return records

    async def _read(self, path: Path, info: api.StreamInfo) -> tuple[Records, float] | None:
        """Return the records of the checkpoint, and when they were read from NATS."""
        try:
            self._form = await in_thread(_current_form)
            async with opened(FrameReader(path)) as reader:
                header = _decode_header(await in_thread(reader.read))
                if reason := await self._why_useless(header, info):
                    logger.info("checkpoint %s is not used: %s", path, reason)
                    return None
                records = await self._read_records(reader, header)
        except FileNotFoundError:
            return None
        except (NatsError, *_READ_ERRORS) as error:
            logger.warning("checkpoint %s cannot be read and is ignored: %r", path, error)
            return None
        except Exception:
            # The watch would read the same file again and again, and the process never start.
            logger.exception("reading checkpoint %s failed, it is ignored", path)
            return None
        logger.info("started from checkpoint %s at revision %d", path, header.revision)
        return records, header.read_at_s

    async def _read_records(self, reader: FrameReader, header: Header) -> Records:
        writer, time_slice, count = self._empty.writer(), TimeSlice(), 0
        block_reader = BlockReader(writer, self._sealed_records)
        while blocks := await in_thread(reader.read_part):
            count += len(blocks)
            for block in blocks:
                block_reader.add(block)
                await time_slice.checkpoint()
        if count != header.blocks:
            raise ValueError(f"it has {count} instead of {header.blocks} blocks")
        return writer.finish()

    async def _why_useless(self, header: Header, info: api.StreamInfo) -> str:
        """Return why no process can start from a checkpoint; empty if one can.

        Raises:
            NatsError: NATS does not answer.
            TimeoutError: NATS does not answer.
        """
        now_s = time.time()
        if not 0 <= now_s - header.current_at_s < MAX_AGE_S:
            return "it is too old, or the clock is wrong"
        if not 0 <= now_s - header.read_at_s < MAX_CHAIN_S:
            return "all records were read from NATS too long ago, or the clock is wrong"
        return self._why_foreign(header, info) or await self._why_of_other_history(header)

    def _why_foreign(self, header: Header, info: api.StreamInfo) -> str:
        if header.form != self._form:
            return "another version of the platform has written it"
        if header.data_keys != self._data_keys:
            return "the data keys of the platform have changed"
        if header.created != str(info.created):
            return "it is of another bucket"
        return ""

    async def _why_of_other_history(self, header: Header) -> str:
        message = await self._message(header.revision)
        if message is None:
            return f"NATS no longer has the message with its revision {header.revision}"
        if message != (header.subject, header.stored):
            return f"NATS has another message with its revision {header.revision}"
        return ""

    @property
    def _data_keys(self) -> tuple[str, ...]:
        return tuple([key.id for key in self._keys.ring.data_keys])

    async def _message(self, revision: int) -> tuple[str, str] | None:
        """Return subject and time of the message with a revision; None if it is gone.

        Raises:
            NatsError: NATS does not answer.
            TimeoutError: NATS does not answer.
        """
        try:
            found = await cancellable(self._bus.jetstream().get_msg(STREAM, seq=revision))
        except NotFoundError:
            return None
        return found.subject or "", str(found.time)

    async def keep(self, current: Callable[[], CurrentRecords | None]) -> None:
        """Renew the checkpoint whenever it is outdated, until cancelled.

        Args:
            current: Returns the records; None while they may be behind the bucket.
        """
        await asyncio.sleep(FIRST_S)
        while (path := self._path) is not None:
            try:
                if not await in_thread(path.parent.is_dir):
                    return
                if (found := current()) is not None:
                    await self.renew(path, found)
            except (OSError, *_NATS_ERRORS) as error:
                logger.warning("checkpoint %s cannot be written: %r", path, error)
            except Exception:
                # Without a next try, the file would keep secrets that were encrypted anew.
                logger.exception("writing checkpoint %s failed", path)
            # Processes that use one file should not look at the same moments.
            await asyncio.sleep(PAUSE_S * random.uniform(0.75, 1.25))  # noqa: S311 - no secret

    async def renew(self, path: Path, current: CurrentRecords) -> None:
        """Write a checkpoint if there is none, or an outdated one; remove one of few records.

        Nothing is done while another process writes the same file.

        Args:
            path: The file.
            current: The records.

        Raises:
            OSError: The file cannot be written.
            NatsError: NATS does not answer.
            TimeoutError: NATS does not answer.
        """
        if _count(current.records) < self.min_records:
            await in_thread(partial(path.unlink, missing_ok=True))
            return
        self._form = await in_thread(_current_form)
        if not await self._why_outdated(path, current):
            return
        async with opened(WriteLock(path)) as lock:
            if not await in_thread(lock.acquire):
                return
            # Another process may have written the file since.
            if reason := await self._why_outdated(path, current):
                await self._replace(path, current, reason)

    async def _why_outdated(self, path: Path, current: CurrentRecords) -> str:
        """Return why the checkpoint should be replaced; empty if it need not."""
        records = current.records
        header = await in_thread(partial(read_header, path))
        if header is None:
            return "there is none"
        if reason := await self._why_useless(header, current.info):
            return reason
        if not 0 <= records.revision - header.revision < _count(records) / CHANGED_SHARE:
            return "many records have changed"
        if current.current_at_s - header.current_at_s >= RENEW_S:
            return "it is old"
        return ""

    async def _replace(self, path: Path, current: CurrentRecords, reason: str) -> None:
        """Write a checkpoint, unless no process could start from it."""
        message = await self._message(current.records.revision)
        read_at_s = self._read_at_s or current.current_at_s
        if message is None or not 0 <= time.time() - read_at_s < MAX_CHAIN_S:
            await self._remove_useless(path, current.info)
            return
        blocks = BlockWriter(current.records, self._sealed_records)
        subject, stored = message
        header = Header(
            form=self._form,
            data_keys=self._data_keys,
            created=str(current.info.created),
            revision=current.records.revision,
            subject=subject,
            stored=stored,
            current_at_s=current.current_at_s,
            read_at_s=read_at_s,
            blocks=blocks.count,
        )
        async with opened(FrameWriter(path)) as writer:
            await _write(writer, header, blocks)
        logger.info("wrote checkpoint %s at revision %d: %s", path, header.revision, reason)

    async def _remove_useless(self, path: Path, info: api.StreamInfo) -> None:
        """Remove a checkpoint that no process can start from: it may have old secrets."""
        header = await in_thread(partial(read_header, path))
        if header is None or await self._why_useless(header, info):
            await in_thread(partial(path.unlink, missing_ok=True))


async def _write(writer: FrameWriter, header: Header, blocks: BlockWriter) -> None:
    """Write a checkpoint; no more than a part of it is in memory."""
    frames, time_slice = [msgspec.msgpack.encode(header)], TimeSlice()
    size = 0
    for block in blocks.blocks():
        frames.append(block)
        size += len(block)
        if size >= framed_file.PART_BYTES:
            await in_thread(partial(writer.write, frames))
            frames, size = [], 0
        await time_slice.checkpoint()
    await in_thread(partial(writer.write, frames))
    await in_thread(writer.replace)


def _count(records: Records) -> int:
    return sum(map(len, records.kinds.values()))


@cache
def _current_form() -> str:
    return f"{version('kubefox')} {packed_format().hex()}"


def _decode_header(frame: bytes | None) -> Header:
    if frame is None:
        raise ValueError("it is empty")
    return msgspec.msgpack.decode(frame, type=Header)


def read_header(path: Path) -> Header | None:
    """Return the header of a checkpoint; None if there is none that can be read."""
    reader = FrameReader(path)
    try:
        with contextlib.closing(reader):
            reader.open()
            return _decode_header(reader.read())
    except FileNotFoundError:
        return None
    except _READ_ERRORS as error:
        logger.warning("checkpoint %s cannot be read: %r", path, error)
        return None
    except Exception:
        logger.exception("reading the header of checkpoint %s failed", path)
        return None
