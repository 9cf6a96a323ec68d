"""Files of JSON lines that are rotated by size: ``NAME.jsonl``, then ``NAME.jsonl.1`` and so on.

All functions block, so they are for threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from kubefox.audit import AuditRecord
from kubefox.decoding import DECODE_ERRORS

_PERMISSIONS = 0o600

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AuditRecord).decode


class AuditFile:
    """One file with its older parts.

    Args:
        path: The file; its folder is private.
        max_bytes: Size at which a new file begins.
        max_files: Number of files; the oldest is removed.
    """

    def __init__(self, path: Path, *, max_bytes: int, max_files: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max_files

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Write records behind the last one; either all of them are written, or none.

        Raises:
            OSError: The disk is full, or the file cannot be written.
        """
        lines = b"".join(_encode(record) + b"\n" for record in records)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, _PERMISSIONS)
        try:
            size_bytes = os.fstat(descriptor).st_size
            try:
                write_all(descriptor, lines)
            except OSError:
                os.ftruncate(descriptor, size_bytes)
                raise
        finally:
            os.close(descriptor)
        if size_bytes + len(lines) >= self._max_bytes:
            self._rotate()

    def newest_first(self) -> Iterator[AuditRecord]:
        """Yield all records, the newest first; a line that cannot be read is left out."""
        for part in range(self._max_files):
            try:
                lines = self._part(part).read_bytes().splitlines()
            except FileNotFoundError:
                continue
            for line in reversed(lines):
                try:
                    yield _decode(line)
                except DECODE_ERRORS:
                    continue

    def _rotate(self) -> None:
        for part in reversed(range(self._max_files - 1)):
            if self._part(part).exists():
                self._part(part).replace(self._part(part + 1))
        if self._max_files == 1:
            self._path.unlink()

    def _part(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of ``content``, if need be in several parts.

    Raises:
        OSError: Not all of it could be written.
    """
    while content:
        content = content[os.write(descriptor, content) :]
