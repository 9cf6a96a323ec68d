"""Folders and files that only the user of this process can read or write."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from kubefox.errors import InvalidRequest

FILE_PERMISSIONS = 0o600
FOLDER_PERMISSIONS = 0o700
_ROOT = 0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def own_folder(path: Path) -> None:
    """Create a private folder, or make an existing one private.

    A folder that others may have filled is refused: what is read from it decides what runs. A
    volume that root has made for a group of this user is accepted.

    Args:
        path: Parents are created if they are missing, with the usual permissions.

    Raises:
        InvalidRequest: It is a link, belongs to somebody else, or others may write to it.
        OSError: It cannot be created or opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=FOLDER_PERMISSIONS)
    if path.is_symlink():
        raise InvalidRequest(f"folder {path} is a symbolic link: name its target instead")
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        check_owner(path, os.fstat(descriptor))
        with contextlib.suppress(PermissionError):  # It is root's.
            os.fchmod(descriptor, FOLDER_PERMISSIONS)
    finally:
        os.close(descriptor)


def check_owner(path: Path, status: os.stat_result) -> None:
    """Refuse a folder that somebody else than its user, or root, may have filled.

    Args:
        path: For the message.
        status: Of the folder itself.

    Raises:
        InvalidRequest: It is a link, belongs to somebody else, or others may write to it.
    """
    if stat.S_ISLNK(status.st_mode):
        raise InvalidRequest(f"folder {path} is a symbolic link: name its target instead")
    user = os.geteuid()
    if status.st_uid not in {user, _ROOT}:
        raise InvalidRequest(
            f"folder {path} belongs to user {status.st_uid}, and this process runs as user {user}: "
            "name another folder, or give this one to the user"
        )
    is_ours = status.st_uid == user
    groups = {os.getegid(), *os.getgroups()}
    allowed = 0 if is_ours or status.st_gid not in groups else stat.S_IWGRP
    if status.st_mode & _OTHERS_WRITE & ~allowed:
        raise InvalidRequest(
            f"other users may write to folder {path}: check its content, and run chmod 700 {path}"
        )


def create(path: Path, content: bytes) -> None:
    """Write a new private file.

    Raises:
        OSError: It exists already, or cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, FILE_PERMISSIONS), "wb") as file:
        file.write(content)


def replace(path: Path, content: bytes) -> None:
    """Write a private file. Readers see the old or the new content, whole.

    Raises:
        OSError: It cannot be written.
    """
    new_file = path.with_name(f"{path.name}.new")
    new_file.unlink(missing_ok=True)
    create(new_file, content)
    new_file.replace(path)


def opener(path: str, flags: int) -> int:
    """Open a file for ``open(…, opener=…)``: private if it is new, and never through a link."""
    return os.open(path, flags | os.O_NOFOLLOW, FILE_PERMISSIONS)
