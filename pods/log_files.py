"""Pods' output in files: one per pod, of bounded size, for whoever comes after a crash."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path

logger = logging.getLogger(__name__)

FILE_BYTES = 1 << 20
PENDING_BYTES = 1 << 20
MAX_FILES = 200


class LogFiles:
    """Writes ``<pod>.log``; at its limit that becomes ``<pod>.log.1`` and a new one begins.

    Writing is left to a thread, so a slow disk holds up nobody: what a pod writes beyond
    ``PENDING_BYTES`` in the meantime is not kept, and the file says so.

    Args:
        folder: Made if it is missing; of what lies there, the newest ``MAX_FILES`` are kept.
        file_bytes: Limit of one file; a pod has two at most.
    """

    def __init__(self, folder: Path, file_bytes: int = FILE_BYTES) -> None:
        """Keep where to write; see ``run``."""
        self._folder = folder
        self._file_bytes = file_bytes
        self._pending: dict[str, bytearray] = {}
        self._dropped: dict[str, int] = {}
        self._appended = asyncio.Event()
        # A write goes on in its thread when ``run`` is cancelled; the next waits for its end.
        self._writing = threading.Lock()
        self._is_failing = False

    def append(self, pod: str, lines: list[str]) -> None:
        """Have lines written soon; never blocks."""
        data = "".join(f"{line}\n" for line in lines).encode()
        pending = self._pending.setdefault(pod, bytearray())
        if len(pending) + len(data) > PENDING_BYTES:
            self._dropped[pod] = self._dropped.get(pod, 0) + len(lines)
        else:
            pending += data
        self._appended.set()

    async def run(self) -> None:
        """Write what is appended, until cancelled."""
        try:
            await asyncio.to_thread(self._tidy)
        except OSError as error:
            self._report(error)
        while True:
            await self._appended.wait()
            await self.flush()

    async def flush(self) -> None:
        """Return when all that was appended has been written, or given up."""
        pending, self._pending = self._pending, {}
        dropped, self._dropped = self._dropped, {}
        self._appended.clear()
        for pod, count in dropped.items():
            pending[pod] += f"… {count} lines were not kept: too many at once\n".encode()
        try:
            await asyncio.to_thread(self._write, pending)
        except OSError as error:
            self._report(error)
        else:
            self._is_failing = False

    def _tidy(self) -> None:
        files = sorted(self._folder.glob("*.log*"), key=lambda file: file.stat().st_mtime)
        for file in files[:-MAX_FILES]:
            file.unlink(missing_ok=True)

    def _write(self, pending: dict[str, bytearray]) -> None:
        with self._writing:
            self._folder.mkdir(parents=True, exist_ok=True)
            is_new = [self._append_to(self._folder / f"{pod}.log", pending[pod]) for pod in pending]
            if any(is_new):
                self._tidy()

    def _append_to(self, path: Path, data: bytearray) -> bool:
        """Write to a file, and return whether it is one more than before."""
        exists = path.exists()
        if exists and path.stat().st_size + len(data) > self._file_bytes:
            path.replace(path.with_name(f"{path.name}.1"))
        with path.open("ab") as file:
            file.write(data)
        return not exists

    def _report(self, error: OSError) -> None:
        # Once for each time it begins to fail: a full disk would fail with every line.
        if not self._is_failing:
            logger.error("pods' output cannot be written to %s: %s", self._folder, error.strerror)
        self._is_failing = True
