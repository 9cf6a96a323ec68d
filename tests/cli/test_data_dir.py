from __future__ import annotations

from pathlib import Path

import pytest

from fox.data_dir import PlatformInfo, open_data_dir
from model.errors import Conflict, InvalidRequest
from tests.cli.conftest import run


def test_a_new_folder_is_made_and_hidden_from_git(tmp_path: Path) -> None:
    with open_data_dir(tmp_path / "a" / "b") as made:
        assert (made.path / ".gitignore").read_text() == "*\n"


def test_an_empty_volume_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()

    with open_data_dir(tmp_path) as taken:
        assert taken.path == tmp_path


def test_what_a_platform_left_is_taken_again(tmp_path: Path) -> None:
    with open_data_dir(tmp_path) as left:
        left.write_info(PlatformInfo(pid=1))
    (tmp_path / ".gitignore").write_text("!kept\n")

    with open_data_dir(tmp_path):
        assert (tmp_path / ".gitignore").read_text() == "!kept\n"


def test_a_copy_without_its_lock_is_taken(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()

    with open_data_dir(tmp_path) as taken:
        assert taken.nats.is_dir()


def test_a_folder_of_somebody_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("name: shop\n")
    (tmp_path / ".gitignore").write_text("__pycache__/\n")

    done = run("up", "--data-dir", tmp_path)

    assert done.returncode == 1
    assert done.stderr == (
        f"error: data folder {tmp_path} holds files that are no platform's: name an empty or a "
        f"new folder with --data-dir, such as {tmp_path}/.kubefox\n"
    )
    assert (tmp_path / ".gitignore").read_text() == "__pycache__/\n"
    assert {each.name for each in tmp_path.iterdir()} == {"app.yaml", ".gitignore"}


def test_a_folder_in_use_is_left_as_it_is(tmp_path: Path) -> None:
    with open_data_dir(tmp_path):
        (tmp_path / ".gitignore").unlink()

        with pytest.raises(Conflict, match="is in use by another process"), open_data_dir(tmp_path):
            pass

        assert not (tmp_path / ".gitignore").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(InvalidRequest, match=f"{tmp_path}/file/data cannot be used"),
        open_data_dir(tmp_path / "file" / "data"),
    ):
        pass
