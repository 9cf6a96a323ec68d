from __future__ import annotations

from pathlib import Path

import pytest

from fox import control_registry
from fox.cli.support.connection import DEFAULT_URL, connect, requests_url
from fox.cli.support.control_client import NoPlatform
from fox.data_dir import CERTIFICATE_FILE, PlatformInfo, open_data_dir
from tests.support.certificates import Authority

URL = "http://127.0.0.1:1234"


def run_platform(folder: Path, *, control_url: str = URL, http_url: str = "") -> None:
    with open_data_dir(folder) as data_dir:
        data_dir.write_info(PlatformInfo(pid=1, control_url=control_url, http_url=http_url))
        content = (folder / "platform.json").read_bytes()
    (folder / "platform.json").write_bytes(content)


def test_a_given_url_wins_over_the_data_folder(tmp_path: Path) -> None:
    run_platform(tmp_path)

    assert connect("http://other:1", tmp_path).url == "http://other:1"


def test_the_url_is_read_from_the_data_folder(tmp_path: Path) -> None:
    run_platform(tmp_path)

    assert connect(None, tmp_path).url == URL


def test_the_default_data_folder_is_found_in_a_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_platform(tmp_path / ".kubefox")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)

    assert connect(None, None).url == URL


@pytest.mark.parametrize("content", ["", "{}", "[", '{"pid": 1}'])
def test_a_default_data_folder_without_a_url_falls_back_to_the_default_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (tmp_path / ".kubefox").mkdir()
    (tmp_path / ".kubefox" / "platform.json").write_text(content)
    monkeypatch.chdir(tmp_path)

    assert connect(None, None).url == DEFAULT_URL


@pytest.mark.parametrize("content", ["", "{}", "[", '{"pid": 1}', None])
def test_a_given_data_folder_without_a_platform_is_an_error(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "platform.json").write_text(content)

    with pytest.raises(NoPlatform, match=f"{tmp_path}: start one with .* --control-url"):
        connect(None, tmp_path)


def test_an_app_folder_given_as_data_folder_names_the_data_folder_in_it(
    tmp_path: Path,
) -> None:
    run_platform(tmp_path / ".kubefox")

    with pytest.raises(NoPlatform, match=rf"but one runs on {tmp_path}/\.kubefox"):
        connect(None, tmp_path)


def test_the_error_of_a_killed_platform_names_the_command_that_starts_it(
    tmp_path: Path,
) -> None:
    run_platform(tmp_path, control_url="http://127.0.0.1:1")

    with pytest.raises(
        NoPlatform, match=f"127.0.0.1:1: start one with `fox up --data-dir {tmp_path}"
    ):
        connect(None, tmp_path).get("v1", "version")


def test_without_any_data_folder_the_default_url_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert connect(None, None).url == DEFAULT_URL


def test_the_address_for_requests_of_an_own_platform_is_known_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    run_platform(tmp_path / "data", control_url=DEFAULT_URL, http_url="http://127.0.0.1:8080")

    with control_registry.registered(DEFAULT_URL, tmp_path / "data"):
        found = requests_url(None, None)

    assert found == "http://127.0.0.1:8080"
    assert requests_url(None, None) == ""


@pytest.mark.parametrize("url", [DEFAULT_URL, DEFAULT_URL.replace("http:", "https:")])
def test_an_own_platform_on_the_default_port_is_found_with_and_without_tls(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    run_platform(tmp_path / "data", control_url=url)
    certificate, _ = Authority(tmp_path).issue("control", "127.0.0.1")
    (tmp_path / "data" / CERTIFICATE_FILE).write_bytes(certificate.read_bytes())

    with control_registry.registered(url, tmp_path / "data"):
        client = connect(None, None)

    assert client.url == url
