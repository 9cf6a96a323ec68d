"""Which data folder belongs to a control API of this user, by the API's URL.

A command that runs outside of the folder of `fox up` finds the owner's token by it. The registry
holds no token: only paths of data folders, in the user's state folder.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from fox.data_dir import INFO_FILE
from kubefox.errors import InvalidRequest
from pods import private_files

logger = logging.getLogger(__name__)

_FOLDER = Path("kubefox", "controls")
_MAX_BYTES = 4096


@contextlib.contextmanager
def registered(url: str, data_dir: Path) -> Iterator[None]:
    """Register the data folder of a control API until the context ends.

    A user without a home folder has no registry: its commands need ``--data-dir``.
    """
    entry = _entry(url)
    is_written = entry is not None and _write(entry, str(data_dir.resolve()))
    try:
        yield
    finally:
        if entry is not None and is_written:
            with contextlib.suppress(OSError):
                entry.unlink(missing_ok=True)


def find(url: str) -> Path | None:
    """Return the data folder of a control API, or None. It may be that of an earlier process."""
    entry = _entry(url)
    if entry is None:
        return None
    try:
        private_files.check_owner(entry.parent, entry.parent.lstat())
        with open(entry, "rb", opener=private_files.opener) as file:
            return Path(os.fsdecode(file.read(_MAX_BYTES)))
    except (OSError, InvalidRequest):
        return None


def _entry(url: str) -> Path | None:
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return Path(state) / _FOLDER / quote(url.rstrip("/"), safe="")


def _write(entry: Path, data_dir: str) -> bool:
    try:
        private_files.own_folder(entry.parent)
        _remove_stale(entry.parent)
        entry.unlink(missing_ok=True)
        private_files.create(entry, os.fsencode(data_dir))
    except (OSError, InvalidRequest) as error:
        logger.info("commands outside of this folder need --data-dir: %s", error)
        return False
    return True


def _remove_stale(folder: Path) -> None:
    """Remove the entries of platforms that were killed, or whose folders are gone."""
    for entry in folder.iterdir():
        if not (Path(os.fsdecode(entry.read_bytes())) / INFO_FILE).exists():
            entry.unlink(missing_ok=True)
