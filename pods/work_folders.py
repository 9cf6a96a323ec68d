"""The private working folders of pods: one for each, empty at its start, removed at its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)

_PERMISSIONS = 0o700


class WorkFolders:
    """The working folders of this machine's pods; only one process may use them at a time.

    Args:
        root: Contains one folder for each pod; created if it is missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._used: set[str] = set()

    async def make(self, pod: str) -> Path:
        """Make and return the folder of a pod; what an earlier process has left in it is removed.

        Raises:
            OSError: The folder cannot be made.
        """
        self._used.add(pod)
        path = self._root / pod
        await asyncio.to_thread(_make, path)
        return path

    async def remove(self, pod: str) -> None:
        """Remove the folder of a pod that has ended; a cancellation does not interrupt this."""
        self._used.discard(pod)
        await asyncio.shield(asyncio.to_thread(_remove, self._root / pod))

    async def remove_unused(self) -> None:
        """Remove the folders of pods that do not run, which a killed process has left."""
        await asyncio.to_thread(self._remove_unused)

    def _remove_unused(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for path in list(self._root.iterdir()):
                if path.name not in self._used:
                    _remove(path)


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=_PERMISSIONS)
    _remove(path)
    path.mkdir(mode=_PERMISSIONS)


def _remove(path: Path) -> None:
    try:
        if path.is_symlink():
            path.unlink()
            return
        _make_removable(path)
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("folder %s cannot be removed: %s", path, error.strerror)


def _make_removable(path: Path) -> None:
    """Make the folders writable: a pod may have made some that not even their owner may write."""
    for folder, names, _ in os.walk(path):
        for name in names:
            below = Path(folder, name)
            if not below.is_symlink():
                below.chmod(_PERMISSIONS)
