from __future__ import annotations

from pathlib import Path

import pytest

from fox.cli.client import NoPlatform
from fox.cli.locate import DEFAULT_URL, connect
from fox.data_dir import PlatformInfo, open_data_dir

URL = "http://127.0.0.1:1234"


def run_platform(folder: Path, *, control_url: str = URL) -> None:
    with open_data_dir(folder) as data_dir:
        data_dir.write_info(PlatformInfo(pid=1, control_url=control_url))
        content = (folder / "platform.json").read_bytes()
    (folder / "platform.json").write_bytes(content)


def test_a_given_url_comes_first(tmp_path: Path) -> None:
    run_platform(tmp_path)

    assert connect("http://other:1", tmp_path).url == "http://other:1"


def test_the_data_folder_tells_where_the_platform_is(tmp_path: Path) -> None:
    run_platform(tmp_path)

    assert connect(None, tmp_path).url == URL


def test_the_default_data_folder_is_looked_for_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_platform(tmp_path / ".kubefox")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)

    assert connect(None, None).url == URL


@pytest.mark.parametrize("content", ["", "{}", "[", '{"pid": 1}'])
def test_a_default_data_folder_that_tells_nothing_leaves_the_default_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (tmp_path / ".kubefox").mkdir()
    (tmp_path / ".kubefox" / "platform.json").write_text(content)
    monkeypatch.chdir(tmp_path)

    assert connect(None, None).url == DEFAULT_URL


@pytest.mark.parametrize("content", ["", "{}", "[", '{"pid": 1}', None])
def test_a_given_data_folder_without_a_platform_is_an_error_that_names_it(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "platform.json").write_text(content)

    with pytest.raises(NoPlatform, match=f"{tmp_path}: start one with .* --control-url"):
        connect(None, tmp_path)


def test_the_app_folder_given_as_data_folder_is_answered_with_the_one_in_it(
    tmp_path: Path,
) -> None:
    run_platform(tmp_path / ".kubefox")

    with pytest.raises(NoPlatform, match=rf"but one on {tmp_path}/\.kubefox"):
        connect(None, tmp_path)


def test_a_platform_that_ended_without_a_word_is_to_be_started_on_its_folder(
    tmp_path: Path,
) -> None:
    run_platform(tmp_path, control_url="http://127.0.0.1:1")

    with pytest.raises(
        NoPlatform, match=f"127.0.0.1:1: start one with `fox up --data-dir {tmp_path}"
    ):
        connect(None, tmp_path).get("v1", "version")


def test_without_any_data_folder_the_default_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert connect(None, None).url == DEFAULT_URL
