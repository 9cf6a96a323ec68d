"""Bundles as folders: each is unpacked once, read-only, and verified before every start.

A folder appears whole, by one rename, under its content hash. Everything in it is hashed before
each use, so a pod runs exactly the code of its hash, even if the disk was changed in between. There
is no compiled code: Python would run it instead of the source, and pods write none.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from broker.runtime.cancelling import cancellable
from broker.runtime.threads import in_thread
from kubefox.bundle import unpack
from kubefox.component import short
from kubefox.digest import FileMode, RuntimeSpec, SourceFile, content_hash
from kubefox.errors import InternalError, InvalidBundle

logger = logging.getLogger(__name__)

FetchBundle = Callable[[str], Coroutine[Any, Any, bytes]]
"""Returns the bundle of a content hash; raises FoxError if there is none."""

_ROOT_PERMISSIONS = 0o700
_FOLDER_PERMISSIONS = 0o555
_FILE_PERMISSIONS = {FileMode.REGULAR: 0o444, FileMode.EXECUTABLE: 0o555}


class BundleFolders:
    """The unpacked bundles of this machine; only one process may use them at a time.

    Args:
        root: Contains one folder for each hash; created if it is missing.
        fetch: Returns the bundle of a hash.
    """

    def __init__(self, root: Path, fetch: FetchBundle) -> None:
        self._root = root.absolute()
        self._fetch = fetch
        self._requested: set[str] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def folder(self, digest: str, runtime: RuntimeSpec) -> Path:
        """Return the folder with exactly the content of ``digest``; unpack it if necessary.

        Raises:
            FoxError: The bundle is missing, has other content, or cannot be written here.
        """
        path = self._root / digest
        self._requested.add(digest)
        async with self._locks[digest]:
            try:
                if not await asyncio.to_thread(_holds, path, digest, runtime):
                    data = await cancellable(self._fetch(digest))
                    # A start that is cancelled must not release the lock under the thread.
                    await in_thread(partial(_unpack, path, data, digest, runtime))
            except OSError as error:
                raise InternalError(
                    f"bundle {short(digest)} cannot be unpacked in {self._root}: {error.strerror}"
                ) from error
        return path

    async def keep_only(self, digests: frozenset[str]) -> None:
        """Remove the folders of all other hashes; log those that cannot be removed.

        A folder that is requested from now on is kept as well.
        """
        self._requested.clear()
        for path in await asyncio.to_thread(_unpacked_folders, self._root):
            async with self._locks[path.name]:
                if path.name in digests or path.name in self._requested:
                    continue
                try:
                    await in_thread(partial(_remove, path))
                except OSError as error:
                    logger.warning("folder %s cannot be removed: %s", path, error.strerror)


def _unpacked_folders(root: Path) -> list[Path]:
    # The name of a folder that is still being unpacked begins with a dot.
    return [path for path in root.glob("[!.]*") if path.is_dir()]


def _holds(path: Path, digest: str, runtime: RuntimeSpec) -> bool:
    if path.is_symlink() or not path.is_dir():
        return False
    try:
        if content_hash(_read(path, path), runtime) == digest:
            return True
        found = "other content than its hash says"
    except _NotInBundleError as error:
        found = str(error)
    logger.warning("folder %s has %s: it is unpacked again", path, found)
    return False


class _NotInBundleError(Exception):
    """A folder contains something that no bundle can contain."""


def _unpack(path: Path, data: bytes, digest: str, runtime: RuntimeSpec) -> None:
    files, _ = unpack(data)
    if content_hash(files, runtime) != digest:
        raise InvalidBundle(f"bundle {short(digest)} has other content than its hash says")
    path.parent.mkdir(parents=True, exist_ok=True, mode=_ROOT_PERMISSIONS)
    path.parent.chmod(_ROOT_PERMISSIONS)
    for leftover in (path, *path.parent.glob(f".{digest}-*")):
        _remove(leftover)
    temporary = Path(tempfile.mkdtemp(prefix=f".{digest}-", dir=path.parent))
    try:
        for file in files:
            _write(temporary, file)
        for folder in (temporary, *_folders(temporary)):
            folder.chmod(_FOLDER_PERMISSIONS)
        temporary.rename(path)
    except BaseException:
        _remove(temporary)
        raise


def _read(folder: Path, root: Path) -> Iterator[SourceFile]:
    for path in folder.iterdir():
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            target = str(path.readlink()).encode()
            yield SourceFile(path=name, mode=FileMode.SYMLINK, content=target)
        elif path.is_dir():
            # The hash does not cover folders, but Python imports an empty one as a package.
            if not any(path.iterdir()):
                raise _NotInBundleError(f"an empty folder {name}")
            yield from _read(path, root)
        elif path.is_file():
            is_executable = path.stat().st_mode & 0o100
            mode = FileMode.EXECUTABLE if is_executable else FileMode.REGULAR
            yield SourceFile(path=name, mode=mode, content=path.read_bytes())
        else:
            # A read of a pipe would wait for ever.
            raise _NotInBundleError(f"{name}, which is no file")


def _write(root: Path, file: SourceFile) -> None:
    # ``unpack`` has refused paths and links that lead out of the folder.
    path = root / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.mode is FileMode.SYMLINK:
        path.symlink_to(file.content.decode())
    else:
        path.write_bytes(file.content)
        path.chmod(_FILE_PERMISSIONS[file.mode])


def _folders(root: Path) -> Iterator[Path]:
    for path in root.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield path
            yield from _folders(path)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        for folder in (path, *_folders(path)):
            folder.chmod(0o755)
        shutil.rmtree(path)
