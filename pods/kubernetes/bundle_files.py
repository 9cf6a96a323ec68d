"""Packed bundles as files, from which the pods of a cluster read them in parts."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import defaultdict
from pathlib import Path

from kubefox.bundle import unpack
from kubefox.component import short
from kubefox.digest import RuntimeSpec, content_hash
from kubefox.errors import InternalError, InvalidBundle
from pods.bundle_folders import FetchBundle

_ROOT_PERMISSIONS = 0o700


class BundleFiles:
    """The bundles of the versions in use; a pod verifies what it has read against its hash.

    Args:
        root: Contains one file for each hash; created if it is missing.
        fetch: Returns the bundle of a hash.
    """

    def __init__(self, root: Path, fetch: FetchBundle) -> None:
        self._root = root
        self._fetch = fetch
        self._requested: set[str] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def store(self, digest: str) -> None:
        """Fetch a bundle if it is not here.

        Raises:
            FoxError: It does not exist, or cannot be written here.
        """
        path = self._root / digest
        self._requested.add(digest)
        async with self._locks[digest]:
            if await asyncio.to_thread(path.is_file):
                return
            data = await self._fetch(digest)
            try:
                await asyncio.to_thread(_write, path, data)
            except OSError as error:
                raise InternalError(
                    f"bundle {short(digest)} cannot be written to {self._root}: {error.strerror}"
                ) from error

    async def check(self, digest: str, runtime: RuntimeSpec) -> None:
        """Check a stored bundle and its runtime against its hash.

        Raises:
            FoxError: They differ, or it cannot be read.
        """
        await asyncio.to_thread(_check, self._root / digest, digest, runtime)

    async def read(self, digest: str, offset: int, length: int) -> tuple[bytes, int]:
        """Return a part of a stored bundle, and the size of the whole.

        Raises:
            OSError: It cannot be read.
        """
        return await asyncio.to_thread(_read, self._root / digest, offset, length)

    async def keep_only(self, digests: frozenset[str]) -> None:
        """Remove all other bundles; one that is requested from now on is kept as well."""
        self._requested.clear()
        for name in await asyncio.to_thread(_names, self._root):
            async with self._locks[name]:
                if name not in digests and name not in self._requested:
                    await asyncio.to_thread((self._root / name).unlink, missing_ok=True)
            if not self._locks[name].locked():
                del self._locks[name]


def _names(root: Path) -> list[str]:
    return [path.name for path in root.glob("[!.]*")]


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=_ROOT_PERMISSIONS)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(temporary).rename(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _check(path: Path, digest: str, runtime: RuntimeSpec) -> None:
    try:
        files, _ = unpack(path.read_bytes())
    except OSError as error:
        raise InternalError(f"bundle {short(digest)} cannot be read: {error.strerror}") from error
    if content_hash(files, runtime) != digest:
        raise InvalidBundle(
            f"bundle {short(digest)} has other content, or another image, than its hash says"
        )


def _read(path: Path, offset: int, length: int) -> tuple[bytes, int]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return os.pread(file.fileno(), length, offset), size
