"""Over TLS the token goes only to the platform that the certificate proves."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubefox.access_token import format_token
from tests.security.impostor import answers, impostor
from tests.security.running import RunningPlatform, run_fox, run_platform
from tests.support.certificates import Authority
from tests.support.ports import free_ports

pytestmark = pytest.mark.slow

UNKNOWN = format_token(bytes(8), bytes(32))
"""A token that no platform knows."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secured(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningPlatform]:
    certificate, key = authority.issue("control", "fox.example", "127.0.0.1")
    with run_platform(
        tmp_path_factory.mktemp("platform") / "data",
        FOX_CONTROL_TLS_CERT=str(certificate),
        FOX_CONTROL_TLS_KEY=str(key),
    ) as running:
        yield running


def test_the_data_folder_is_proof_enough(secured: RunningPlatform, tmp_path: Path) -> None:
    done = run_fox(tmp_path, "get", "pods", FOX_DATA_DIR=str(secured.folder))

    assert done.returncode == 0, done.stderr


def test_a_given_authority_is_believed(
    secured: RunningPlatform, authority: Authority, tmp_path: Path
) -> None:
    done = run_fox(
        tmp_path,
        "get",
        "pods",
        XDG_STATE_HOME=str(tmp_path),
        FOX_CONTROL_URL=secured.info.control_url,
        FOX_CONTROL_CA=str(authority.file),
        FOX_TOKEN=secured.owners_token,
    )

    assert done.returncode == 0, done.stderr


def test_a_host_that_the_certificate_does_not_name_is_refused(
    secured: RunningPlatform, authority: Authority, tmp_path: Path
) -> None:
    url = f"https://localhost:{secured.control_port}"

    done = run_fox(tmp_path, "get", "pods", FOX_CONTROL_URL=url, FOX_CONTROL_CA=str(authority.file))

    assert done.returncode == 1
    assert "cannot be trusted: Hostname mismatch" in done.stderr


def test_a_certificate_of_an_unknown_authority_gets_no_token(
    secured: RunningPlatform, tmp_path: Path
) -> None:
    done = run_fox(
        tmp_path,
        "get",
        "pods",
        XDG_STATE_HOME=str(tmp_path),
        FOX_CONTROL_URL=secured.info.control_url,
        FOX_TOKEN=secured.owners_token,
    )

    assert done.returncode == 1
    assert "set FOX_CONTROL_CA" in done.stderr


def test_another_certificate_than_that_of_the_folder_gets_no_token(
    authority: Authority, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    one, key = authority.issue("one")
    # A port that nothing else takes before the impostor does.
    (port,) = free_ports(1)
    settings = {
        "FOX_CONTROL_TLS_CERT": str(one),
        "FOX_CONTROL_TLS_KEY": str(key),
        "FOX_CONTROL_PORT": str(port),
    }
    with run_platform(folder, **settings) as platform:
        token = platform.owners_token
        platform.kill()
        other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        other.load_cert_chain(*authority.issue("other"))
        heard: list[bytes] = []

        def shake_hands(connected: socket.socket) -> None:
            with other.wrap_socket(connected.dup(), server_side=True) as secure:
                heard.append(secure.recv(1 << 16))

        with impostor(shake_hands, port):
            done = run_fox(tmp_path, "get", "pods", FOX_DATA_DIR=str(folder))

    assert "cannot be trusted" in done.stderr
    assert not any(token.encode() in text for text in heard)


def test_plain_text_is_no_way_around_tls(secured: RunningPlatform, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{secured.control_port}"

    done = run_fox(tmp_path, "get", "pods", FOX_CONTROL_URL=url, FOX_TOKEN=secured.owners_token)

    assert done.returncode == 1
    assert "if it speaks TLS, use https://" in done.stderr


def test_tls_to_a_plain_port_is_refused(tmp_path: Path) -> None:
    with impostor(answers(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) as plain:
        url = plain.url.replace("http:", "https:")

        done = run_fox(tmp_path, "get", "pods", FOX_CONTROL_URL=url, FOX_TOKEN=UNKNOWN)

    assert done.returncode == 1
    assert "it does not speak TLS, so nothing was sent" in done.stderr
    assert UNKNOWN.encode() not in plain.received
