import asyncio
import os
import resource
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubefox.bundle import pack
from kubefox.digest import FileMode, RuntimeSpec, SourceFile, content_hash
from kubefox.errors import InternalError, InvalidBundle, NotFound
from pods import bundle_folders
from pods.bundle_folders import BundleFolders
from tests.pods.folders import names

RUNTIME = RuntimeSpec()
FILES = (
    SourceFile(path="components/api/main.py", mode=FileMode.REGULAR, content=b"kit = 1\n"),
    SourceFile(path="components/api/run.sh", mode=FileMode.EXECUTABLE, content=b"#!/bin/sh\n"),
    SourceFile(path="components/api/link", mode=FileMode.SYMLINK, content=b"main.py"),
    SourceFile(path="shared/names.py", mode=FileMode.REGULAR, content=b""),
)
DIGEST = content_hash(FILES, RUNTIME)


class Source:
    """Bundles by hash, and how often each was fetched."""

    def __init__(self, **bundles: bytes) -> None:
        self.bundles = bundles
        self.fetched: Counter[str] = Counter()

    async def fetch(self, digest: str) -> bytes:
        self.fetched[digest] += 1
        await asyncio.sleep(0)
        if digest not in self.bundles:
            raise NotFound(f"there is no bundle {digest}")
        return self.bundles[digest]


@pytest.fixture
def source() -> Source:
    return Source(**{DIGEST: pack(FILES, RUNTIME)})


async def test_a_bundle_becomes_a_folder_with_its_files_modes_and_links(
    tmp_path: Path, source: Source
) -> None:
    folder = await BundleFolders(tmp_path / "bundles", source.fetch).folder(DIGEST, RUNTIME)

    assert folder == tmp_path / "bundles" / DIGEST
    component = folder / "components" / "api"
    assert (component / "main.py").read_bytes() == b"kit = 1\n"
    assert (component / "run.sh").stat().st_mode & 0o111
    assert (component / "link").readlink() == Path("main.py")
    assert (folder / "shared" / "names.py").read_bytes() == b""


async def test_an_unpacked_folder_is_read_only(tmp_path: Path, source: Source) -> None:
    folder = await BundleFolders(tmp_path, source.fetch).folder(DIGEST, RUNTIME)

    for path in (folder, *folder.rglob("*")):
        assert path.is_symlink() or not stat.S_IMODE(path.stat().st_mode) & 0o222


async def test_a_bundle_is_fetched_once_even_by_another_process_later(
    tmp_path: Path, source: Source
) -> None:
    folders = BundleFolders(tmp_path, source.fetch)

    await asyncio.gather(*(folders.folder(DIGEST, RUNTIME) for _ in range(5)))
    await BundleFolders(tmp_path, source.fetch).folder(DIGEST, RUNTIME)

    assert source.fetched[DIGEST] == 1


async def test_a_start_waits_for_the_thread_of_a_cancelled_one(
    tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = BundleFolders(tmp_path, source.fetch)
    unpack, begun, may_end = bundle_folders._unpack, threading.Event(), threading.Event()
    at_once, most = 0, 0

    def unpack_slowly(*arguments: Any) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        begun.set()
        may_end.wait()
        unpack(*arguments)
        at_once -= 1

    monkeypatch.setattr(bundle_folders, "_unpack", unpack_slowly)
    first = asyncio.create_task(folders.folder(DIGEST, RUNTIME))
    await asyncio.to_thread(begun.wait)
    first.cancel()
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.create_task(folders.folder(DIGEST, RUNTIME))
    while not folders._locks[DIGEST]._waiters and source.fetched[DIGEST] < 2:
        await asyncio.sleep(0)
    may_end.set()
    await asyncio.wait([first])

    assert first.cancelled()
    assert await second == tmp_path / DIGEST
    assert (most, source.fetched[DIGEST]) == (1, 1)


def plant_compiled(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"planted")


def plant_module(folder: Path) -> None:
    (folder / "json.py").write_text("planted")


def plant_package(folder: Path) -> None:
    (folder / "yaml").mkdir()


def plant_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def plant_link(folder: Path) -> None:
    (folder / "linked.py").symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    "plant", [plant_compiled, plant_module, plant_package, plant_pipe, plant_link]
)
async def test_a_folder_with_something_planted_is_unpacked_again(
    tmp_path: Path, source: Source, plant: Callable[[Path], None]
) -> None:
    folders = BundleFolders(tmp_path, source.fetch)
    component = await folders.folder(DIGEST, RUNTIME) / "components" / "api"
    before = names(component)
    component.chmod(0o755)
    plant(component)

    await folders.folder(DIGEST, RUNTIME)

    assert names(component) == before
    assert source.fetched[DIGEST] == 2


async def test_a_link_in_place_of_the_folder_is_replaced(tmp_path: Path, source: Source) -> None:
    elsewhere = await BundleFolders(tmp_path / "elsewhere", source.fetch).folder(DIGEST, RUNTIME)
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / DIGEST).symlink_to(elsewhere)

    folder = await BundleFolders(tmp_path / "bundles", source.fetch).folder(DIGEST, RUNTIME)

    assert not folder.is_symlink()
    assert elsewhere.is_dir()


async def test_nobody_else_gets_into_the_folder_of_the_bundles(
    tmp_path: Path, source: Source
) -> None:
    await BundleFolders(tmp_path / "bundles", source.fetch).folder(DIGEST, RUNTIME)

    assert stat.S_IMODE((tmp_path / "bundles").stat().st_mode) == 0o700


async def test_a_changed_folder_is_unpacked_again(tmp_path: Path, source: Source) -> None:
    folders = BundleFolders(tmp_path, source.fetch)
    file = await folders.folder(DIGEST, RUNTIME) / "components" / "api" / "main.py"
    file.chmod(0o644)
    file.write_text("kit = 'other'\n")

    await folders.folder(DIGEST, RUNTIME)

    assert file.read_bytes() == b"kit = 1\n"


async def test_a_half_unpacked_folder_left_by_a_crash_is_removed(
    tmp_path: Path, source: Source
) -> None:
    leftover = tmp_path / f".{DIGEST}-abc"
    leftover.mkdir(mode=0o555)

    await BundleFolders(tmp_path, source.fetch).folder(DIGEST, RUNTIME)

    assert names(tmp_path) == {DIGEST}


async def test_a_bundle_with_other_content_than_its_hash_is_refused(tmp_path: Path) -> None:
    other = SourceFile(path="main.py", mode=FileMode.REGULAR, content=b"other")
    source = Source(**{DIGEST: pack([other], RUNTIME)})

    with pytest.raises(InvalidBundle, match="other content"):
        await BundleFolders(tmp_path, source.fetch).folder(DIGEST, RUNTIME)

    assert names(tmp_path) == set()


async def test_a_corrupt_bundle_is_refused(tmp_path: Path) -> None:
    source = Source(**{DIGEST: b"not a bundle"})

    with pytest.raises(InvalidBundle):
        await BundleFolders(tmp_path, source.fetch).folder(DIGEST, RUNTIME)


async def test_a_missing_bundle_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no bundle"):
        await BundleFolders(tmp_path, Source().fetch).folder(DIGEST, RUNTIME)


async def test_an_unwritable_folder_is_named_with_the_reason(
    tmp_path: Path, source: Source
) -> None:
    (tmp_path / "bundles").write_text("in the way")

    with pytest.raises(InternalError, match=r"in /.*/bundles: File exists"):
        await BundleFolders(tmp_path / "bundles", source.fetch).folder(DIGEST, RUNTIME)


async def test_a_full_disk_leaves_no_half_unpacked_folder(
    tmp_path: Path, small_files_only: int
) -> None:
    large = SourceFile(path="main.py", mode=FileMode.REGULAR, content=b"x" * (small_files_only + 1))
    digest = content_hash([large], RUNTIME)
    source = Source(**{digest: pack([large], RUNTIME)})

    with pytest.raises(InternalError, match="File too large"):
        await BundleFolders(tmp_path, source.fetch).folder(digest, RUNTIME)

    assert names(tmp_path) == set()


@pytest.fixture
def small_files_only() -> Iterator[int]:
    """Writing fails at this size, as it does on a full disk."""
    limit_bytes = 1 << 20
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    yield limit_bytes
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
