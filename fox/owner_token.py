"""The token of the platform's owner: a file in the data folder, with all rights.

Its process believes it, and no other control process does. Deleting the file and starting the
process again replaces it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from kubefox.access_token import ID_BYTES, SECRET_BYTES, format_token, parse_token
from kubefox.errors import InvalidRequest
from pods import private_files

TOKEN_FILE = "owner.token"  # noqa: S105 - the name of a file
_MAX_BYTES = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def provide(folder: Path) -> str:
    """Return the owner's token of a data folder; the first call creates it.

    Raises:
        InvalidRequest: The file is not the owner's alone, or holds no token.
        OSError: It cannot be created or read.
    """
    file = folder / TOKEN_FILE
    with contextlib.suppress(FileExistsError):
        new = format_token(secrets.token_bytes(ID_BYTES), secrets.token_bytes(SECRET_BYTES))
        private_files.create(file, f"{new}\n".encode())
    text = read_private(file)
    if parse_token(text) is None:
        raise InvalidRequest(f"{file} holds no token: delete it, and start again to get a new one")
    return text


def read_private(file: Path) -> str:
    """Return the token in a file that only its user can read.

    Raises:
        InvalidRequest: The file is a link, somebody else's, or others may read or write it.
        OSError: It is missing, or cannot be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(file, flags)
    except OSError as error:
        if file.is_symlink():
            raise InvalidRequest(f"{file} is a symbolic link: name its target instead") from error
        raise
    with os.fdopen(descriptor, "rb") as opened:
        _check(file, os.fstat(descriptor))
        return opened.read(_MAX_BYTES).decode(errors="replace").strip()


def _check(file: Path, status: os.stat_result) -> None:
    user = os.geteuid()
    if not stat.S_ISREG(status.st_mode):
        raise InvalidRequest(f"{file} is not a regular file")
    if status.st_uid != user:
        raise InvalidRequest(f"{file} belongs to user {status.st_uid}, and you are user {user}")
    if status.st_mode & _OTHERS:
        raise InvalidRequest(f"other users may use {file}: run chmod 600 {file}")
