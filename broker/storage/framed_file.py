"""A file of frames, each with its length and its CRC-32, that is read and replaced part by part.

All methods block: in the event loop, call them through ``broker.runtime.threads.in_thread``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import struct
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

PART_BYTES = 1 << 20
"""Size of the frames that are read or written in one call, and at most one frame more."""

_FRAME = struct.Struct("<II")
_FILE_PERMISSIONS = 0o600
_LEFT_S = 600
_ROOT = 0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class FrameReader:
    """Reads the frames of a file.

    Args:
        path: The file; other users must not be able to write it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._left_bytes = 0

    def open(self) -> None:
        """Open the file.

        Raises:
            OSError: It cannot be read.
            ValueError: Other users may write it.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self._path, flags), "rb")
        status = os.fstat(self._file.fileno())
        if status.st_uid not in {os.geteuid(), _ROOT} or status.st_mode & _OTHERS_WRITE:
            raise ValueError("other users may write it")
        self._left_bytes = status.st_size

    def read(self) -> bytes | None:
        """Return the next frame; None at the end.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is damaged.
        """
        if not self._left_bytes:
            return None
        length, crc = _FRAME.unpack(self._read_exactly(_FRAME.size))
        frame = self._read_exactly(length)
        if zlib.crc32(frame) != crc:
            raise ValueError("its content is damaged")
        return frame

    def read_part(self) -> list[bytes]:
        """Return the next frames, of ``PART_BYTES`` together; none at the end.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is damaged.
        """
        frames, size = list[bytes](), 0
        while size < PART_BYTES and (frame := self.read()) is not None:
            frames.append(frame)
            size += len(frame)
        return frames

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._file is not None:
            self._file.close()

    def _read_exactly(self, size: int) -> bytes:
        # A damaged length could be of 4 GiB: nothing is read beyond the size of the file.
        content = b""
        if self._file is not None and size <= self._left_bytes:
            content = self._file.read(size)
        if len(content) != size:
            raise ValueError("its content is damaged")
        self._left_bytes -= size
        return content


class FrameWriter:
    """Replaces a file: readers see the old or the new one, whole.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        self._file: BinaryIO | None = None

    def open(self) -> None:
        """Begin with the new file.

        Raises:
            OSError: It cannot be made.
        """
        self._remove_left()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.fdopen(os.open(self._written, flags, _FILE_PERMISSIONS), "wb")

    def write(self, frames: Iterable[bytes]) -> None:
        """Add frames to the new file, which is open.

        Raises:
            OSError: The file cannot be written.
        """
        file = self._opened()
        for frame in frames:
            file.write(_FRAME.pack(len(frame), zlib.crc32(frame)))
            file.write(frame)

    def replace(self) -> None:
        """Replace the file by the new one.

        Raises:
            OSError: The file cannot be written.
        """
        file = self._opened()
        file.flush()
        os.fsync(file.fileno())
        self._written.replace(self._path)

    def close(self) -> None:
        """Close the new file, and remove it if it has not replaced the old one."""
        if self._file is not None:
            # Without space on the disk, the last bytes cannot be written, and closing fails too.
            with contextlib.suppress(OSError):
                self._file.close()
            self._written.unlink(missing_ok=True)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise ValueError(f"{self._written} is not open")
        return self._file

    def _remove_left(self) -> None:
        """Remove the files of processes that were killed while they wrote."""
        for left in self._path.parent.glob(f".{self._path.name}.*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > _LEFT_S:
                    left.unlink()


class WriteLock:
    """Keeps a file from being written by two processes at once; it ends with its process.

    Args:
        path: The file; the lock is on another one beside it, because the file is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.lock")
        self._file: BinaryIO | None = None

    def open(self) -> None:
        """Open the file of the lock, and make it if it is missing.

        Raises:
            OSError: It cannot be made.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.fdopen(os.open(self._path, flags, _FILE_PERMISSIONS), "r+b")

    def acquire(self) -> bool:
        """Return whether the lock, which is open, is ours now; do not wait for it.

        Raises:
            OSError: The file system has no locks.
        """
        if self._file is None:
            raise ValueError(f"{self._path} is not open")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Release the lock."""
        if self._file is not None and not self._file.closed:
            # A process that was forked meanwhile has the file open too.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()
