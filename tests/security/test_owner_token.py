"""The control API takes a token from everybody, and only its owner gets one without a step."""

from __future__ import annotations

import json
import os
import re
import stat
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

import pytest

from examples.demo.platform import credentials
from fox import control_registry, owner_token
from fox.data_dir import PlatformInfo, read_info
from kubefox.access_token import format_token, parse_token
from kubefox.errors import InvalidRequest
from tests.fox.cli.conftest import Cli, platform, run
from tests.security.users import NOBODY, call_as_nobody, needs_root

__all__ = ["platform"]


@pytest.fixture
def info(platform: Path) -> PlatformInfo:
    found = read_info(platform)
    assert found is not None
    return found


def status_of(url: str, headers: dict[str, str] | None = None, method: str = "GET") -> HTTPStatus:
    request = urllib.request.Request(url, headers=headers or {}, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310 - on loopback
            return HTTPStatus(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return HTTPStatus(error.code)


def test_the_owners_token_is_its_users_alone(platform: Path) -> None:
    file = platform / owner_token.TOKEN_FILE

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert parse_token(file.read_text().strip()) is not None


def test_the_owners_token_stays_at_the_next_start(tmp_path: Path) -> None:
    assert owner_token.provide(tmp_path) == owner_token.provide(tmp_path)


@pytest.mark.parametrize("content", ["", "secret", "fox_1_2"])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / owner_token.TOKEN_FILE).touch(0o600)
    (tmp_path / owner_token.TOKEN_FILE).write_text(content)

    with pytest.raises(InvalidRequest, match="holds no token: delete it"):
        owner_token.provide(tmp_path)


def test_an_owners_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    owner_token.provide(tmp_path)
    (tmp_path / owner_token.TOKEN_FILE).chmod(0o640)

    with pytest.raises(InvalidRequest, match="chmod 600"):
        owner_token.provide(tmp_path)


def test_an_owners_token_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    owner_token.provide(tmp_path / "other")
    (tmp_path / owner_token.TOKEN_FILE).symlink_to(tmp_path / "other" / owner_token.TOKEN_FILE)

    with pytest.raises(InvalidRequest, match="symbolic link"):
        owner_token.provide(tmp_path)


@needs_root
def test_another_user_cannot_read_the_owners_token(platform: Path) -> None:
    file = platform / owner_token.TOKEN_FILE

    assert "Permission denied" in call_as_nobody(file.read_text)


@needs_root
def test_another_user_of_the_machine_gets_nothing_from_the_control_api(info: PlatformInfo) -> None:
    url = f"{info.control_url}/v1/deployments"

    # What it imports at first, the other user could not read.
    assert status_of(url) == HTTPStatus.UNAUTHORIZED

    def ask() -> None:
        urllib.request.urlopen(url)  # noqa: S310 - on loopback

    assert call_as_nobody(ask) == "HTTP Error 401: Unauthorized"


def test_the_right_id_with_another_secret_is_refused(platform: Path, info: PlatformInfo) -> None:
    known = credentials(platform)["authorization"]
    guessed = known[:-1] + ("0" if known[-1] != "0" else "1")

    status = status_of(f"{info.control_url}/v1/deployments", {"authorization": guessed})

    assert status == HTTPStatus.UNAUTHORIZED


def test_a_refusal_names_the_scheme_and_the_cure(info: PlatformInfo) -> None:
    with pytest.raises(urllib.error.HTTPError) as failed:
        urllib.request.urlopen(f"{info.control_url}/v1/deployments")  # noqa: S310 - on loopback

    with failed.value as answer:
        problem = json.loads(answer.read())
        assert answer.headers["www-authenticate"] == 'Bearer realm="kubefox"'
    assert problem["code"] == "unauthenticated"
    assert "--token-file" in problem["detail"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_token(info: PlatformInfo, path: str) -> None:
    assert status_of(info.control_url + path) == HTTPStatus.OK


def test_the_owners_commands_need_no_step_in_any_folder(
    info: PlatformInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    Cli({"FOX_CONTROL_URL": info.control_url})("get", "deployments")


def test_refusals_are_counted_in_the_metrics(platform: Path, info: PlatformInfo) -> None:
    status_of(f"{info.control_url}/v1/deployments")
    url, headers = f"{info.control_url}/metrics", credentials(platform)
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:  # noqa: S310
        text = answer.read().decode()

    assert re.search(r'kubefox_control_unauthenticated_total{service="kubefox"} [1-9]', text)
    assert 'kubefox_audit_lost_total{service="kubefox"} 0' in text


def test_without_the_registry_a_command_names_the_cure(info: PlatformInfo, tmp_path: Path) -> None:
    environ = {"FOX_CONTROL_URL": info.control_url, "XDG_STATE_HOME": str(tmp_path)}

    done = run("get", "deployments", **environ)

    assert done.returncode == 1
    assert "needs a token" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def elsewhere(platform: Path, info: PlatformInfo, tmp_path: Path) -> dict[str, str]:
    """Variables of a user that has the token only as a copy; the last one is that copy."""
    copy = tmp_path / "token"
    copy.touch(0o600)
    copy.write_text((platform / owner_token.TOKEN_FILE).read_text())
    state = tmp_path / "state"
    state.mkdir()
    return {
        "FOX_CONTROL_URL": info.control_url,
        "XDG_STATE_HOME": str(state),
        "copy": str(copy),
    }


def test_a_token_is_taken_from_a_file_or_a_variable(elsewhere: dict[str, str]) -> None:
    copy = elsewhere.pop("copy")

    by_option = run("get", "deployments", "--token-file", copy, **elsewhere)
    by_file = run("get", "deployments", **elsewhere, FOX_TOKEN_FILE=copy)
    by_variable = run("get", "deployments", **elsewhere, FOX_TOKEN=Path(copy).read_text())

    assert [done.returncode for done in (by_option, by_file, by_variable)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "it is empty"),
        ("two words", "several words or lines"),
        ("two\nlines", "several words or lines"),
        ("\u00e9", "does not begin with fox_"),
        ("secret", "does not begin with fox_"),
        ("fox_0_0", "it has 7 characters"),
        (format_token(bytes(8), bytes(32)).replace("0", "g"), "not hexadecimal digits"),
    ],
)
def test_a_token_that_is_none_is_refused_before_it_is_sent(
    elsewhere: dict[str, str], content: str, fault: str
) -> None:
    bad = Path(elsewhere.pop("copy"))
    bad.write_text(content)

    by_option = run("get", "deployments", "--token-file", bad, **elsewhere)
    by_file = run("get", "deployments", **elsewhere, FOX_TOKEN_FILE=str(bad))
    by_variable = run("get", "deployments", **elsewhere, FOX_TOKEN=content or "-")

    assert f"the token file {bad} of --token-file holds no token: " in by_option.stderr
    assert f"the token file {bad} of FOX_TOKEN_FILE holds no token: " in by_file.stderr
    assert "the variable FOX_TOKEN holds no token: " in by_variable.stderr
    assert "unset FOX_TOKEN" in by_variable.stderr
    assert all(done.returncode == 1 for done in (by_option, by_file, by_variable))
    for done in (by_option, by_file):
        assert fault in done.stderr
        assert not content or content not in done.stderr
        assert "as `fox token create` prints them" in done.stderr


def test_a_token_of_an_issuer_is_not_sent_in_plain_text(elsewhere: dict[str, str]) -> None:
    elsewhere.pop("copy")

    done = run("get", "deployments", **elsewhere, FOX_TOKEN="e30.e30.c2ln")

    assert done.returncode == 1
    assert "the variable FOX_TOKEN holds the token of an OIDC issuer" in done.stderr
    assert "use https://" in done.stderr


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_token_file_that_others_may_read_is_refused(elsewhere: dict[str, str], mode: int) -> None:
    copy = Path(elsewhere.pop("copy"))
    copy.chmod(mode)

    done = run("get", "deployments", "--token-file", copy, **elsewhere)

    assert done.returncode == 1
    assert f"other users may read the token file {copy} of --token-file" in done.stderr
    assert f"chmod 600 {copy}" in done.stderr


@needs_root
def test_a_token_file_that_another_user_has_mounted_is_read(elsewhere: dict[str, str]) -> None:
    """Like a Secret of Kubernetes: a link to a file of another user, which everybody may read."""
    copy = Path(elsewhere.pop("copy"))
    (copy.parent / "..data").mkdir()
    mounted = copy.rename(copy.parent / "..data" / "token")
    mounted.chmod(0o644)
    os.chown(mounted, NOBODY, NOBODY)
    copy.symlink_to("..data/token")

    done = run("get", "deployments", "--token-file", copy, **elsewhere)

    assert done.returncode == 0, done.stderr


def test_a_registry_that_others_can_write_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with control_registry.registered("http://127.0.0.1:1", tmp_path):
        known = control_registry.find("http://127.0.0.1:1")
        (tmp_path / "kubefox" / "controls").chmod(0o777)
        planted = control_registry.find("http://127.0.0.1:1")

    assert (known, planted) == (tmp_path, None)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic Zm94OmZveA==",
        f"Bearer {format_token(bytes(8), bytes(32))}",
        f"Token {format_token(bytes(8), bytes(32))}",
        "Bearer fox_0_0",
        "Bearer \xff",
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/deployments"),
        ("PUT", "/v1/environments/dev"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing"),
        ("PATCH", "/v1/deployments"),
    ],
)
def test_a_request_without_a_valid_token_is_refused(
    info: PlatformInfo, method: str, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}

    status = status_of(info.control_url + path, headers, method)

    # So many failures of one address are limited.
    assert status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
