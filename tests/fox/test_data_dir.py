from __future__ import annotations

from pathlib import Path

import pytest

from fox.data_dir import PlatformInfo, open_data_dir
from kubefox.errors import Conflict, InvalidRequest
from tests.fox.cli.conftest import run


def test_a_new_data_folder_is_created_and_ignored_by_git(tmp_path: Path) -> None:
    with open_data_dir(tmp_path / "a" / "b") as made:
        assert (made.path / ".gitignore").read_text() == "*\n"


def test_an_empty_volume_can_be_a_data_folder(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()

    with open_data_dir(tmp_path) as taken:
        assert taken.path == tmp_path


def test_the_data_folder_of_a_stopped_platform_is_opened_again(tmp_path: Path) -> None:
    with open_data_dir(tmp_path) as left:
        left.write_info(PlatformInfo(pid=1))
    (tmp_path / ".gitignore").write_text("!kept\n")

    with open_data_dir(tmp_path):
        assert (tmp_path / ".gitignore").read_text() == "!kept\n"


def test_a_copied_data_folder_without_its_lock_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()

    with open_data_dir(tmp_path) as taken:
        assert taken.nats.is_dir()


def test_a_folder_with_foreign_files_is_refused_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("name: shop\n")
    (tmp_path / ".gitignore").write_text("__pycache__/\n")

    done = run("up", "--data-dir", tmp_path)

    assert done.returncode == 1
    assert done.stderr == (
        f"error: data folder {tmp_path} holds files that do not belong to a platform: name an "
        f"empty or a new folder with --data-dir, such as {tmp_path}/.kubefox\n"
    )
    assert (tmp_path / ".gitignore").read_text() == "__pycache__/\n"
    assert {path.name for path in tmp_path.iterdir()} == {"app.yaml", ".gitignore"}


def test_a_data_folder_in_use_is_refused_and_not_changed(tmp_path: Path) -> None:
    with open_data_dir(tmp_path):
        (tmp_path / ".gitignore").unlink()

        with pytest.raises(Conflict, match="is in use by another process"), open_data_dir(tmp_path):
            pass

        assert not (tmp_path / ".gitignore").exists()


def test_a_data_folder_that_cannot_be_created_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(InvalidRequest, match=f"{tmp_path}/file/data cannot be used"),
        open_data_dir(tmp_path / "file" / "data"),
    ):
        pass
