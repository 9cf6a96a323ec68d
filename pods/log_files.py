"""Pods' output in files: one for each pod, of bounded size, so that it is there after a crash."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path

from pods import private_files

logger = logging.getLogger(__name__)

FILE_BYTES = 1 << 20
PENDING_BYTES = 1 << 20
MAX_FILES = 200


class LogFiles:
    """Writes ``<pod>.log``; at its limit the file becomes ``<pod>.log.1`` and a new one begins.

    A thread writes, so a slow disk does not block the event loop. Lines of a pod that exceed
    ``pending_bytes`` before they are written are dropped, and the file says how many.

    Args:
        folder: Created if it is missing.
        file_bytes: Size limit of one file; a pod has at most two.
        pending_bytes: Size limit of the lines of one pod that wait to be written.
        max_files: Number of files to keep, the newest ones.
    """

    def __init__(
        self,
        folder: Path,
        *,
        file_bytes: int = FILE_BYTES,
        pending_bytes: int = PENDING_BYTES,
        max_files: int = MAX_FILES,
    ) -> None:
        self._folder = folder
        self._file_bytes = file_bytes
        self._pending_bytes = pending_bytes
        self._max_files = max_files
        self._pending: dict[str, bytearray] = {}
        self._dropped: dict[str, int] = {}
        self._appended = asyncio.Event()
        # A write continues in its thread when ``run`` is cancelled; the next write waits for it.
        self._writing = threading.Lock()
        self._is_failing = False

    def append(self, pod: str, lines: list[str]) -> None:
        """Queue lines to be written; never blocks."""
        data = "".join(f"{line}\n" for line in lines).encode()
        pending = self._pending.setdefault(pod, bytearray())
        if len(pending) + len(data) > self._pending_bytes:
            self._dropped[pod] = self._dropped.get(pod, 0) + len(lines)
        else:
            pending += data
        self._appended.set()

    async def run(self) -> None:
        """Write queued lines, until cancelled."""
        try:
            await asyncio.to_thread(self._remove_oldest)
        except OSError as error:
            self._log_failure(error)
        while True:
            await self._appended.wait()
            await self.flush()

    async def flush(self) -> None:
        """Return when all queued lines are written, or could not be written."""
        pending, self._pending = self._pending, {}
        dropped, self._dropped = self._dropped, {}
        self._appended.clear()
        for pod, count in dropped.items():
            pending[pod] += f"… {count} lines were dropped: too many at once\n".encode()
        try:
            await asyncio.to_thread(self._write, pending)
        except OSError as error:
            self._log_failure(error)
        else:
            self._is_failing = False

    def _remove_oldest(self) -> None:
        files = sorted(self._folder.glob("*.log*"), key=lambda file: file.stat().st_mtime)
        for file in files[: -self._max_files]:
            file.unlink(missing_ok=True)

    def _write(self, pending: dict[str, bytearray]) -> None:
        with self._writing:
            self._folder.mkdir(parents=True, exist_ok=True, mode=private_files.FOLDER_PERMISSIONS)
            is_new = [self._append_to(self._folder / f"{pod}.log", pending[pod]) for pod in pending]
            if any(is_new):
                self._remove_oldest()

    def _append_to(self, path: Path, data: bytearray) -> bool:
        """Append to a file, and return whether the number of files grew."""
        exists = path.exists()
        if exists and path.stat().st_size + len(data) > self._file_bytes:
            path.replace(path.with_name(f"{path.name}.1"))
        with open(path, "ab", opener=private_files.opener) as file:
            file.write(data)
        return not exists

    def _log_failure(self, error: OSError) -> None:
        # Log only the first failure of a series: on a full disk every line fails.
        if not self._is_failing:
            logger.error("pods' output cannot be written to %s: %s", self._folder, error.strerror)
        self._is_failing = True
