import asyncio
import resource
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.bundle import pack
from model.digest import FileMode, RuntimeSpec, SourceFile, content_hash
from model.errors import InternalError, InvalidBundle, NotFound
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


async def test_nothing_in_the_folder_may_be_written(tmp_path: Path, source: Source) -> None:
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


async def test_what_python_caches_beside_the_code_is_not_taken_for_a_change(
    tmp_path: Path, source: Source
) -> None:
    folders = BundleFolders(tmp_path, source.fetch)
    folder = await folders.folder(DIGEST, RUNTIME)
    folder.chmod(0o755)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "main.pyc").write_bytes(b"cached")

    await folders.folder(DIGEST, RUNTIME)

    assert source.fetched[DIGEST] == 1


async def test_a_folder_that_was_changed_is_put_right(tmp_path: Path, source: Source) -> None:
    folders = BundleFolders(tmp_path, source.fetch)
    file = await folders.folder(DIGEST, RUNTIME) / "components" / "api" / "main.py"
    file.chmod(0o644)
    file.write_text("kit = 'other'\n")

    await folders.folder(DIGEST, RUNTIME)

    assert file.read_bytes() == b"kit = 1\n"


async def test_what_a_crash_left_half_unpacked_is_removed(tmp_path: Path, source: Source) -> None:
    leftover = tmp_path / f".{DIGEST}-abc"
    leftover.mkdir(mode=0o555)

    await BundleFolders(tmp_path, source.fetch).folder(DIGEST, RUNTIME)

    assert names(tmp_path) == {DIGEST}


async def test_a_bundle_of_other_content_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    other = SourceFile(path="main.py", mode=FileMode.REGULAR, content=b"other")
    source = Source(**{DIGEST: pack([other], RUNTIME)})

    with pytest.raises(InvalidBundle, match="other content"):
        await BundleFolders(tmp_path, source.fetch).folder(DIGEST, RUNTIME)

    assert names(tmp_path) == set()


async def test_a_corrupt_bundle_is_refused(tmp_path: Path) -> None:
    source = Source(**{DIGEST: b"not a bundle"})

    with pytest.raises(InvalidBundle):
        await BundleFolders(tmp_path, source.fetch).folder(DIGEST, RUNTIME)


async def test_a_missing_bundle_is_reported_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no bundle"):
        await BundleFolders(tmp_path, Source().fetch).folder(DIGEST, RUNTIME)


async def test_a_folder_that_cannot_be_written_is_named_with_the_reason(
    tmp_path: Path, source: Source
) -> None:
    (tmp_path / "bundles").write_text("in the way")

    with pytest.raises(InternalError, match=r"in /.*/bundles: File exists"):
        await BundleFolders(tmp_path / "bundles", source.fetch).folder(DIGEST, RUNTIME)


async def test_a_file_that_cannot_be_written_whole_is_reported_and_nothing_half_written_stays(
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
