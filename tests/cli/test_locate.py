from __future__ import annotations

from pathlib import Path

import pytest

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
def test_a_data_folder_that_tells_nothing_leaves_the_default(tmp_path: Path, content: str) -> None:
    (tmp_path / "platform.json").write_text(content)

    assert connect(None, tmp_path).url == DEFAULT_URL


def test_without_any_data_folder_the_default_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert connect(None, None).url == DEFAULT_URL
