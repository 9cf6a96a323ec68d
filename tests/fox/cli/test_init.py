from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fox.cli.commands.init import NEXT_STEPS
from fox.source.app import read_app
from tests.fox.cli.conftest import Cli
from tests.security.hostile_repository import HostileRepository

IDENTITY = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
}


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)


def test_a_new_app_is_committed_and_can_be_read(fox_alone: Cli, tmp_path: Path) -> None:
    printed = fox_alone("init", "My Shop").stdout

    app = read_app(tmp_path / "My Shop")
    assert (app.spec.name, app.spec.title) == ("my-shop", "My shop")
    assert list(app.components) == ["hello"]
    assert NEXT_STEPS.format(app="my-shop") in printed
    assert "http://127.0.0.1:8080/dev/my-shop" in printed


def test_the_test_of_a_new_app_passes(fox_alone: Cli, tmp_path: Path) -> None:
    fox_alone("init", "shop")

    subprocess.run([sys.executable, "tests/test_hello.py"], cwd=tmp_path / "shop", check=True)


def test_init_without_a_folder_uses_the_current_one(
    fox_alone: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")

    printed = fox_alone("init").stdout

    assert (tmp_path / "shop" / ".gitignore").is_file()
    assert "  cd " not in printed


def test_an_app_inside_a_repository_is_left_to_commit(fox_alone: Cli, tmp_path: Path) -> None:
    hostile = HostileRepository(tmp_path)
    hostile.hook("pre-commit")

    result = fox_alone("init", "app/apps/shop")

    assert not (hostile.root / "apps/shop/.git").exists()
    assert "is in the existing repository" in result.stderr
    assert "git add --all && git commit" in result.stdout
    assert not hostile.canary.exists()


def test_a_folder_that_is_not_empty_is_refused(fox_alone: Cli, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")

    printed = fox_alone("init", tmp_path, code=1).stderr

    assert "is not empty" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("name", ["___", "/"])
def test_a_folder_name_without_letters_or_digits_is_refused(fox_alone: Cli, name: str) -> None:
    assert "needs letters or digits" in fox_alone("init", name, code=1).stderr


def test_a_path_through_a_file_is_refused(fox_alone: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert "cannot be" in fox_alone("init", "file/shop", code=1).stderr
    assert "cannot be" in fox_alone("init", "file", code=1).stderr


def test_a_failed_commit_is_reported_with_the_command_to_run(
    fox_alone: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)

    result = fox_alone("init", "shop")

    assert "not committed: git commit" in result.stderr
    assert "git add --all && git commit" in result.stdout
    assert (tmp_path / "shop" / "app.yaml").is_file()
