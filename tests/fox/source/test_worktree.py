from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fox.source.app import read_app
from kubefox.errors import InvalidRequest
from tests.support.repository import Repository, app_files

NAMES = st.text("abc é*[!-", min_size=1, max_size=4).map(str.strip).filter(bool)
FILES = st.dictionaries(NAMES, st.tuples(st.binary(max_size=40), st.booleans()), max_size=4)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(first=FILES, second=FILES)
def test_a_dirty_tree_has_the_hashes_of_its_commit(
    first: dict[str, tuple[bytes, bool]], second: dict[str, tuple[bytes, bool]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository(Path(folder), "apps/shop")
        repository.write(app_files("shop", "api"))
        _lay_out(repository, first)
        repository.commit()
        _lay_out(repository, second)

        dirty = read_app(repository.folder, is_dirty=True)
        repository.commit()

        assert dirty.hashes == read_app(repository.folder).hashes


def _lay_out(repository: Repository, files: dict[str, tuple[bytes, bool]]) -> None:
    folder = repository.folder / "components/api/files"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, (content, is_executable) in files.items():
        path = folder / f"_{name}"
        path.write_bytes(content)
        path.chmod(0o755 if is_executable else 0o644)


def test_reading_a_dirty_tree_does_not_change_the_repository(repository: Repository) -> None:
    repository.write({"components/api/main.py": "changed", "new": "new"})
    before = _everything(repository.folder / ".git")

    app = read_app(repository.folder, is_dirty=True)

    assert _everything(repository.folder / ".git") == before
    assert app.source.is_dirty


def _everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_deleted_files_are_not_part_of_a_dirty_tree(repository: Repository) -> None:
    (repository.folder / "components/web/main.py").unlink()

    assert list(read_app(repository.folder, is_dirty=True).components) == ["api"]


def test_ignored_files_that_are_tracked_are_part_of_a_dirty_tree(repository: Repository) -> None:
    repository.write({".gitignore": "*.log", "components/api/kept.log": "tracked"})
    repository.git("add", "--force", "components/api/kept.log")
    repository.commit()
    committed = read_app(repository.folder).hashes

    assert read_app(repository.folder, is_dirty=True).hashes == committed


def test_line_ends_are_normalised_as_git_stores_them(repository: Repository) -> None:
    repository.write({".gitattributes": "*.py text\n", "components/api/main.py": b"a\r\nb\r\n"})
    dirty = read_app(repository.folder, is_dirty=True).hashes
    repository.commit()

    assert read_app(repository.folder).hashes == dirty


def test_a_repository_without_a_commit_can_be_read_dirty(tmp_path: Path) -> None:
    repository = Repository(tmp_path / 'odd "name": here')
    repository.write(app_files("shop", "api"))

    app = read_app(repository.folder, is_dirty=True)

    assert list(app.components) == ["api"]
    assert app.source.commit == ""


def test_a_path_that_git_cannot_add_is_named(repository: Repository) -> None:
    Repository(repository.folder / "components" / "empty")

    with pytest.raises(InvalidRequest, match="'components/empty/' does not have a commit"):
        read_app(repository.folder, is_dirty=True)
