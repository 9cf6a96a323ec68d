"""``platform.json`` in a data folder, read only if nobody else can have written it.

The CLI finds the file in the working tree, and sends the user's secrets to the address in it. A
file that came with a cloned repository, or that another user wrote, would name an address of its
author.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from fox.data_dir import INFO_FILE, PlatformInfo
from fox.source.tracked import refuse_tracked
from kubefox.errors import InvalidRequest
from pods import private_files

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_CURE = "delete it, or name the platform with --control-url or FOX_CONTROL_URL"


def read_own_info(folder: Path) -> PlatformInfo | None:
    """Return the content of a data folder's ``platform.json``; None if it is missing or broken.

    Raises:
        InvalidRequest: The folder or the file belongs to somebody else, others may write to it, or
            a Git repository contains it; the message names the cure.
    """
    file = folder / INFO_FILE
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if not file.is_symlink():
            return None
        raise _refused(file, "it is a symbolic link") from error
    with os.fdopen(descriptor, "rb") as opened:
        _check_file(file, os.fstat(descriptor))
        _check_folder(folder)
        try:
            return msgspec.json.decode(opened.read(), type=PlatformInfo)
        except (OSError, msgspec.MsgspecError):
            return None


def _check_file(file: Path, status: os.stat_result) -> None:
    user = os.geteuid()
    if status.st_uid != user:
        raise _refused(file, f"it belongs to user {status.st_uid}, and you are user {user}")
    if status.st_mode & _OTHERS_WRITE:
        raise _refused(file, f"other users may write to it (chmod 600 {file})")


def _check_folder(folder: Path) -> None:
    try:
        private_files.check_owner(folder, folder.lstat())
        refuse_tracked(folder)
    except InvalidRequest as error:
        raise _refused(folder / INFO_FILE, error.detail) from error


def _refused(file: Path, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{file} is not believed: {reason}; {_CURE}")
