"""The data folder of a platform: locked by the processes that use it, and read by the CLI.

One process holds the lock of the platform, which has the control API. One process, the same or
another, holds the lock of the pods, which are run from the bundles in the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from kubefox.errors import Conflict, InvalidRequest
from pods import private_files

INFO_FILE = "platform.json"
CERTIFICATE_FILE = "control.pem"
"""The certificate of the control API: clients that find it here need no other proof."""
CHECKPOINT_FILE = "records.checkpoint"
_LOCK_FILE = "lock"
_PODS_LOCK_FILE = "pods.lock"
_NATS_FOLDER = "nats"
_NOTE_FILE = "records-in-nats"
_NOTE = (
    "The records of this platform are in a NATS of its own. Control does not begin a new platform\n"
    "when NATS has lost them: see docs/operations/backup.md.\n"
)
KEY_FILE = "key-encryption-keys"
# One of them is enough to recognise a platform's folder: a copy may lack the lock.
_PLATFORM_ENTRIES = {*(INFO_FILE, _LOCK_FILE, _PODS_LOCK_FILE, _NATS_FOLDER, _NOTE_FILE, KEY_FILE)}
# Files that may be in a new, otherwise empty volume or folder.
_IGNORED_ENTRIES = {"lost+found", ".DS_Store", ".gitignore", ".gitkeep", ".snapshot"}


class PlatformInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The addresses of a running platform, as ``platform.json`` holds them.

    Attributes:
        pid: Process id of the platform.
        http_url: URL for the requests of end users; empty without an HTTP adapter.
        control_url: URL of the control API; empty without the control role.
        nats_url: URL of the platform's NATS.
        nats_credentials: File with its credentials; empty if it needs none.
    """

    pid: int
    http_url: str = ""
    control_url: str = ""
    nats_url: str = ""
    nats_credentials: str = ""


class DataDir:
    """A locked data folder; made by ``open_data_dir``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def nats(self) -> Path:
        """The folder of the embedded nats-server."""
        return self.path / _NATS_FOLDER

    @property
    def has_noted_records(self) -> bool:
        """Whether ``note_records`` was called for this folder, by any process so far."""
        return (self.path / _NOTE_FILE).exists()

    def note_records(self) -> None:
        """Note that the platform has records in a NATS that it did not start."""
        if not self.has_noted_records:
            private_files.create(self.path / _NOTE_FILE, _NOTE.encode())

    def write_info(self, info: PlatformInfo) -> None:
        """Write ``platform.json``. The file is replaced: readers see the old or the new text."""
        private_files.replace(self.path / INFO_FILE, msgspec.json.encode(info))

    def write_certificate(self, pem: bytes) -> None:
        """Write the certificate of the control API, as ``write_info`` does."""
        private_files.replace(self.path / CERTIFICATE_FILE, pem)


@contextlib.contextmanager
def open_data_dir(path: Path) -> Iterator[DataDir]:
    """Lock a data folder for this process, and create it if it is missing.

    The kernel releases the lock when the process ends, however it ends.

    Raises:
        Conflict: Another process holds the lock.
        InvalidRequest: The folder cannot be created or written, or it holds other files.
    """
    with _locked(path, _LOCK_FILE, _platform_in_use):
        yield DataDir(path)
        for name in (INFO_FILE, CERTIFICATE_FILE):
            (path / name).unlink(missing_ok=True)


@contextlib.contextmanager
def lock_pods(path: Path) -> Iterator[None]:
    """Lock a data folder for the pods of this process, and create it if it is missing.

    Raises:
        Conflict: Another process runs pods from this folder.
        InvalidRequest: The folder cannot be created or written, or it holds other files.
    """
    with _locked(path, _PODS_LOCK_FILE, _pods_in_use):
        yield


def read_info(path: Path) -> PlatformInfo | None:
    """Return the content of a data folder's ``platform.json``; None if it is missing or broken."""
    try:
        return msgspec.json.decode((path / INFO_FILE).read_bytes(), type=PlatformInfo)
    except (OSError, msgspec.MsgspecError):
        return None


@contextlib.contextmanager
def _locked(path: Path, lock_file: str, in_use: Callable[[Path], str]) -> Iterator[None]:
    with _os_errors_reported(path):
        private_files.own_folder(path)
        _refuse_foreign_files(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path / lock_file, flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(in_use(path)) from error
        with _os_errors_reported(path):
            _hide_from_git(path)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _os_errors_reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidRequest(f"data folder {path} cannot be used: {error.strerror}") from error


def _refuse_foreign_files(path: Path) -> None:
    """Refuse a folder that holds other files, such as an app: the path is likely a mistake."""
    entries = {entry.name for entry in path.iterdir()} - _IGNORED_ENTRIES
    if entries and not entries & _PLATFORM_ENTRIES:
        raise InvalidRequest(
            f"data folder {path} holds files that do not belong to a platform: name an empty or "
            f"a new folder with --data-dir, such as {path / '.kubefox'}"
        )


def _hide_from_git(path: Path) -> None:
    # The folder is often inside an app's folder, where it must not count as a change of the app.
    with contextlib.suppress(FileExistsError), (path / ".gitignore").open("x") as file:
        file.write("*\n")


def _platform_in_use(path: Path) -> str:
    info = read_info(path)
    holder = f"process {info.pid}" if info else "another process"
    return (
        f"data folder {path} is in use by {holder}: stop that platform, or name another folder "
        "with --data-dir"
    )


def _pods_in_use(path: Path) -> str:
    return (
        f"another process runs pods from data folder {path}: stop it, or name another folder "
        "with --data-dir"
    )
