"""The audit log of one control process: its changes, and what it has refused.

Changes and refusals are in files of their own: somebody who is refused a million times must not
push the changes out of the log.

A change whose record cannot be written, because the disk is full for example, has happened already.
Its record waits in memory, and each further change is refused until it is written. So no change is
missing in the log, unless the process ends before the disk has room again. Records of refusals are
dropped in that time, and counted.

A log collector can get a copy of each record, as a line of standard output for example. The files
decide: a copy that cannot be written is given up, and a log line says so.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from control.access.audit_file import AuditFile, write_all
from kubefox.audit import AuditRecord, Decision
from kubefox.errors import AuditUnavailable, FoxError, InternalError

logger = logging.getLogger(__name__)

CHANGES, REFUSALS = "changes.jsonl", "refusals.jsonl"
MAX_WAITING_REFUSALS = 1_000

Result = TypeVar("Result")

_encode = msgspec.json.Encoder().encode


class AuditLog:
    """Writes and reads the audit log.

    Args:
        folder: Private folder of the log.
        max_bytes: Size of one file.
        max_files: Number of files of changes, and of refusals.
        process: Id of this process, for the records.
        copies: File descriptor that gets a line for each record that is in a file; None for none.

    Attributes:
        lost: Number of refusals that could not be recorded.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        max_files: int,
        process: str = "",
        copies: int | None = None,
    ) -> None:
        self._changes = AuditFile(folder / CHANGES, max_bytes=max_bytes, max_files=max_files)
        self._refusals = AuditFile(folder / REFUSALS, max_bytes=max_bytes, max_files=max_files)
        self._waiting: list[AuditRecord] = []
        self._waiting_refusals: list[AuditRecord] = []
        self._writing = asyncio.Lock()
        self._has_failed = False
        self._last_id = 0
        self._process = process
        self._copies = copies
        self.lost = 0

    @property
    def process(self) -> str:
        """Id of this process."""
        return self._process

    @property
    def is_writable(self) -> bool:
        """Whether the last record of a change could be written."""
        return not self._has_failed

    def next_id(self) -> str:
        """Return an id above all earlier ones of this process: the time in nanoseconds."""
        self._last_id = max(time.time_ns(), self._last_id + 1)
        return f"{self._last_id:019d}"

    async def check_writable(self) -> None:
        """Write the records that wait.

        Raises:
            AuditUnavailable: They still cannot be written, so nothing may be changed.
        """
        if self._has_failed:
            await self._flush()
        # Records of other changes may wait again at any time: only a failure says something.
        if self._has_failed:
            raise AuditUnavailable(
                "the audit log cannot be written, so nothing is changed: make room on the disk of "
                "the data folder"
            )

    async def add(self, record: AuditRecord) -> None:
        """Write a record; one of a change that cannot be written waits."""
        if record.decision is not Decision.REFUSED:
            self._waiting.append(record)
        elif len(self._waiting_refusals) < MAX_WAITING_REFUSALS:
            self._waiting_refusals.append(record)
        else:
            self.lost += 1
        await self._flush()

    async def _flush(self) -> None:
        async with self._writing:
            self._has_failed = not await self._write(self._changes, self._waiting)
            if not await self._write(self._refusals, self._waiting_refusals):
                self.lost += len(self._waiting_refusals)
                self._waiting_refusals.clear()

    async def _write(self, file: AuditFile, waiting: list[AuditRecord]) -> bool:
        """Move the records that wait to a file; return whether that worked."""
        written = tuple(waiting)
        if not written:
            return True
        try:
            await asyncio.to_thread(self._append, file, written)
        except OSError as error:
            logger.error("the audit log cannot be written: %s", error)  # noqa: TRY400
            return False
        del waiting[: len(written)]
        return True

    def _append(self, file: AuditFile, records: Sequence[AuditRecord]) -> None:
        file.append(records)
        if self._copies is None:
            return
        lines = b"".join(_encode({"audit": record}) + b"\n" for record in records)
        try:
            write_all(self._copies, lines)
        except OSError as error:
            logger.error("records of the audit log are in its file alone: %s", error)  # noqa: TRY400

    async def newest(
        self, before: str, limit: int, selects: Callable[[AuditRecord], bool]
    ) -> list[AuditRecord]:
        """Return the newest records that are selected.

        Args:
            before: Only records with a smaller id; empty for all.
            limit: Most records.
            selects: Returns whether a record is wanted.
        """
        waiting = [*self._waiting, *self._waiting_refusals]

        def read() -> list[AuditRecord]:
            return list(itertools.islice(filter(selects, self._records(waiting, before)), limit))

        return await asyncio.to_thread(read)

    def _records(self, waiting: Iterable[AuditRecord], before: str) -> Iterator[AuditRecord]:
        newest_first = heapq.merge(
            sorted(waiting, key=_id, reverse=True),
            self._changes.newest_first(),
            self._refusals.newest_first(),
            key=_id,
            reverse=True,
        )
        for record in newest_first:
            # A file that is renamed meanwhile is read twice.
            if not before or record.id < before:
                before = record.id
                yield record


async def run_noted(
    run: Callable[[], Awaitable[Result]], note: Callable[[FoxError | None], Awaitable[None]]
) -> Result:
    """Run a change, and note how it has ended before its result is returned.

    Args:
        run: The change.
        note: Gets the error; None if there is none, or if the change was cancelled.

    Raises:
        Exception: Any error of the change.
    """
    error: FoxError | None = None
    try:
        return await run()
    except FoxError as failure:
        error = failure
        raise
    except Exception:
        error = InternalError("internal error: see the log of the control process")
        raise
    finally:
        await note(error)


def _id(record: AuditRecord) -> str:
    return record.id
