"""Bundles as folders: each unpacked once, read-only, and looked at again before every start.

A folder appears whole, by one rename, under its content hash. Its content is hashed before each
use, so whatever happened to the disk in between, a pod runs exactly the code of its hash.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from broker.cancelling import cancellable
from model.bundle import unpack
from model.component import short
from model.digest import FileMode, RuntimeSpec, SourceFile, content_hash
from model.errors import InternalError, InvalidBundle

logger = logging.getLogger(__name__)

Fetch = Callable[[str], Coroutine[Any, Any, bytes]]
"""Returns the bundle of a content hash; raises FoxError if there is none."""

# Written by Python beside the code when the folder can be written after all, as by root.
_CACHE = "__pycache__"
_FOLDER_PERMISSIONS = 0o555
_FILE_PERMISSIONS = {FileMode.REGULAR: 0o444, FileMode.EXECUTABLE: 0o555}


class BundleFolders:
    """The unpacked bundles of this machine; one process at a time uses them.

    Args:
        root: Folder that holds a folder for each hash; made if it is missing.
        fetch: Where bundles come from.
    """

    def __init__(self, root: Path, fetch: Fetch) -> None:
        """Keep where bundles come from and go to."""
        self._root = root.absolute()
        self._fetch = fetch
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def folder(self, digest: str, runtime: RuntimeSpec) -> Path:
        """Return the folder that holds exactly the content of ``digest``.

        Raises:
            FoxError: The bundle is missing, holds something else, or cannot be written here.
        """
        path = self._root / digest
        async with self._locks[digest]:
            try:
                if not await asyncio.to_thread(_holds, path, digest, runtime):
                    data = await cancellable(self._fetch(digest))
                    await asyncio.to_thread(_unpack, path, data, digest, runtime)
            except OSError as error:
                raise InternalError(
                    f"bundle {short(digest)} cannot be unpacked in {self._root}: {error.strerror}"
                ) from error
        return path

    async def keep_only(self, digests: frozenset[str]) -> None:
        """Remove the folders of all other hashes; what cannot be removed is logged, and stays."""
        for path in await asyncio.to_thread(_list, self._root):
            if path.name in digests:
                continue
            async with self._locks[path.name]:
                try:
                    await asyncio.to_thread(_remove, path)
                except OSError as error:
                    logger.warning("%s cannot be removed: %s", path, error.strerror)


def _list(root: Path) -> list[Path]:
    # What is being unpacked begins with a dot.
    return [each for each in root.glob("[!.]*") if each.is_dir()]


def _holds(path: Path, digest: str, runtime: RuntimeSpec) -> bool:
    return path.is_dir() and content_hash(_read(path, path), runtime) == digest


def _unpack(path: Path, data: bytes, digest: str, runtime: RuntimeSpec) -> None:
    files, _ = unpack(data)
    if content_hash(files, runtime) != digest:
        raise InvalidBundle(f"bundle {short(digest)} holds other content than its hash says")
    path.parent.mkdir(parents=True, exist_ok=True)
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
            if path.name != _CACHE:
                yield from _read(path, root)
        else:
            is_executable = path.stat().st_mode & 0o100
            mode = FileMode.EXECUTABLE if is_executable else FileMode.REGULAR
            yield SourceFile(path=name, mode=mode, content=path.read_bytes())


def _write(root: Path, file: SourceFile) -> None:
    # ``unpack`` lets no path or link through that leads out of the folder.
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
    if path.is_dir():
        for folder in (path, *_folders(path)):
            folder.chmod(0o755)
        shutil.rmtree(path)
