"""Folders that a process must not see: it replaces them by empty ones, in its own mount namespace.

A user namespace allows this without any right on the machine; some systems forbid it
(``allowed_namespaces``). The process must have one thread. It gives up all
capabilities afterwards, and the mounts of a namespace above cannot be taken off from one below
(``mount_namespaces(7)``), so its code does not get the folders back.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from broker.runtime import linux_calls as linux

_FLAGS = linux.MS_NOSUID | linux.MS_NODEV
# Another user may have to pass the folders that lead to those that stay.
_OPEN_UMASK = 0o022


class _Kept(NamedTuple):
    """A folder or file that stays in a hidden folder."""

    path: Path
    descriptor: int
    is_read_only: bool


def hide(
    hidden: Sequence[Path],
    readable: Sequence[Path],
    writable: Sequence[Path],
    *,
    keeps_user: bool = True,
) -> None:
    """Hide folders from this process and from those that it starts.

    Args:
        hidden: Folders that become empty and read-only; those that are missing are ignored.
        readable: Folders within them that stay, read-only, besides those of this Python.
        writable: Folders within them that stay.
        keeps_user: Whether the process goes on as this user. Root cannot become another user in a
            user namespace.

    Raises:
        OSError: The system does not allow it. What was done before it failed stays.
    """
    is_read_only = dict.fromkeys((*linux.python_folders(), *readable), True)
    is_read_only.update(dict.fromkeys(writable, False))
    working_folder = Path.cwd()
    _enter_namespace(keeps_user=keeps_user)
    umask = os.umask(_OPEN_UMASK)
    # They are opened in it, and before their names lead nowhere.
    kept = [
        _Kept(path, os.open(path, os.O_PATH | os.O_CLOEXEC), is_read_only[path])
        for path in is_read_only
        if path.exists()
    ]
    # A folder that stays may contain one that is hidden.
    for folder in sorted(set(hidden)):
        if folder.is_dir() and folder not in is_read_only:
            _empty(folder, _outermost_below(folder, kept))
    for one in kept:
        os.close(one.descriptor)
    os.umask(umask)
    # The former one leads to its parents, which are hidden.
    os.chdir(working_folder if working_folder.is_dir() else "/")


def closed_parents(paths: Iterable[Path]) -> list[Path]:
    """Return the outermost folders above ``paths``, and above Python, that others may not pass."""
    closed: dict[Path, None] = {}
    for path in (*paths, *linux.python_folders()):
        outermost_first = reversed(path.parents)
        folder = next((one for one in outermost_first if not _may_be_passed(one)), None)
        if folder is not None:
            closed[folder] = None
    return list(closed)


def _may_be_passed(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def _enter_namespace(*, keeps_user: bool) -> None:
    """Enter a mount namespace, in a user namespace of its own if the process goes on as this user.

    Processes of one user may read the memory of each other, and the folders that others see
    (``/proc/<pid>/root``), unless they are in user namespaces beside each other.
    """
    try:
        linux.unshare(linux.NEW_MOUNTS | (linux.NEW_USER if keeps_user else 0))
    except OSError:
        # Some systems forbid user namespaces. Root needs none for a mount namespace.
        if not keeps_user or os.geteuid():
            raise
        linux.unshare(linux.NEW_MOUNTS)
    linux.keep_mounts_private()


def _outermost_below(folder: Path, kept: Iterable[_Kept]) -> list[_Kept]:
    below = {one.path: one for one in kept if folder in one.path.parents}
    return [one for path, one in below.items() if not below.keys() & set(path.parents)]


def _empty(folder: Path, kept: Iterable[_Kept]) -> None:
    """Mount an empty folder over one, with some that it contains in their places."""
    linux.mount("tmpfs", folder, "tmpfs", _FLAGS, "mode=755,size=1m")
    for one in kept:
        if stat.S_ISDIR(os.fstat(one.descriptor).st_mode):
            one.path.mkdir(parents=True, exist_ok=True)
        else:
            one.path.parent.mkdir(parents=True, exist_ok=True)
            one.path.touch()
        source = f"/proc/self/fd/{one.descriptor}"
        linux.mount(source, one.path, "", linux.MS_BIND | linux.MS_REC)
        if one.is_read_only:
            linux.set_attributes(one.path, linux.READ_ONLY)
    linux.mount("none", folder, "", _FLAGS | linux.MS_REMOUNT | linux.MS_RDONLY)
