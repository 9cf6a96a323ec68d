"""The data folder of a platform: locked by the process that uses it, and read by the CLI."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from model.errors import Conflict, InvalidRequest

INFO_FILE = "platform.json"
_LOCK_FILE = "lock"
_NATS_FOLDER = "nats"
# Whichever of them is there, it is a platform's folder: also one that was copied without its lock.
_OURS = {INFO_FILE, _LOCK_FILE, _NATS_FOLDER}
# A volume of its own has it from the beginning.
_OF_THE_DISK = {"lost+found", ".DS_Store", ".gitignore", ".gitkeep", ".snapshot"}


class PlatformInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a running platform tells about itself in ``platform.json``.

    Attributes:
        pid: Its process id.
        http_url: Where end users send requests; empty without an HTTP adapter.
        control_url: Where the CLI sends requests; empty without control.
        nats_url: Where the platform's NATS is, with credentials.
    """

    pid: int
    http_url: str = ""
    control_url: str = ""
    nats_url: str = ""


class DataDir:
    """A locked data folder; made by ``open_data_dir``."""

    def __init__(self, path: Path) -> None:
        """Wrap a folder that is locked already."""
        self.path = path

    @property
    def nats(self) -> Path:
        """For the embedded nats-server."""
        return self.path / _NATS_FOLDER

    def write_info(self, info: PlatformInfo) -> None:
        """Tell where the platform is; readers see the old text or the new one, whole."""
        fresh = self.path / f"{INFO_FILE}.new"
        # It holds the credentials of NATS.
        fresh.touch(mode=0o600)
        fresh.write_bytes(msgspec.json.encode(info))
        fresh.replace(self.path / INFO_FILE)


@contextlib.contextmanager
def open_data_dir(path: Path) -> Iterator[DataDir]:
    """Take a data folder, made if it is missing, for this process alone.

    The lock goes with the process, however it ends.

    Raises:
        Conflict: Another process has it.
        InvalidRequest: It cannot be made or written, or holds what is no platform's.
    """
    with _usable(path):
        path.mkdir(parents=True, exist_ok=True)
        _refuse_others(path)
        descriptor = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, path)
        with _usable(path):
            _hide_from_git(path)
        yield DataDir(path)
        (path / INFO_FILE).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def read_info(path: Path) -> PlatformInfo | None:
    """Return what a platform wrote into its data folder, or None."""
    try:
        return msgspec.json.decode((path / INFO_FILE).read_bytes(), type=PlatformInfo)
    except (OSError, msgspec.MsgspecError):
        return None


@contextlib.contextmanager
def _usable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidRequest(f"data folder {path} cannot be used: {error.strerror}") from error


def _refuse_others(path: Path) -> None:
    """Refuse a folder of somebody else's files, such as an app's: a slip of the keyboard."""
    held = {each.name for each in path.iterdir()} - _OF_THE_DISK
    if held and not held & _OURS:
        raise InvalidRequest(
            f"data folder {path} holds files that are no platform's: name an empty or a new "
            f"folder with --data-dir, such as {path / '.kubefox'}"
        )


def _hide_from_git(path: Path) -> None:
    # It often lies in an app's folder, where it must not count as a change of the app.
    with contextlib.suppress(FileExistsError), (path / ".gitignore").open("x") as file:
        file.write("*\n")


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        info = read_info(path)
        holder = f"process {info.pid}" if info else "another process"
        raise Conflict(
            f"data folder {path} is in use by {holder}: stop that platform, or take another "
            "folder with --data-dir"
        ) from error
