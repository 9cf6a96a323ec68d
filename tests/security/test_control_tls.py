"""The control API speaks TLS where other machines reach it, and never falls back to plain text."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.running import RunningPlatform, run_fox, run_platform
from tests.support.certificates import Authority, replace, serial_in, serial_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def platform(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningPlatform]:
    """A platform whose control API other machines can reach, by the name ``fox.example``."""
    certificate, key = authority.issue("control", "fox.example", "127.0.0.1")
    with run_platform(
        tmp_path_factory.mktemp("platform") / "data",
        FOX_CONTROL_HOST="0.0.0.0",  # noqa: S104 - what this test is about
        FOX_CONTROL_TLS_CERT=str(certificate),
        FOX_CONTROL_TLS_KEY=str(key),
        FOX_CONTROL_ALLOWED_HOSTS="fox.example",
    ) as running:
        yield running


def connect(platform: RunningPlatform, authority: Authority) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", platform.control_port), timeout=30)
    return authority.client_context().wrap_socket(plain, server_hostname="fox.example")


def healthz(connected: ssl.SSLSocket, host: str = "fox.example") -> bytes:
    connected.sendall(f"GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    return connected.recv(1000).split(b"\r\n")[0]


def served_serial(platform: RunningPlatform, authority: Authority) -> int:
    with connect(platform, authority) as connected:
        return serial_of(connected.getpeercert(binary_form=True))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "fox.example"])  # noqa: S104
def test_a_control_api_beyond_loopback_needs_tls(tmp_path: Path, host: str) -> None:
    done = run_fox(tmp_path, "up", FOX_CONTROL_HOST=host, FOX_CONTROL_PORT="0", FOX_HTTP_PORT="0")

    assert done.returncode == 1
    assert f"may not listen on {host} (FOX_CONTROL_HOST) without TLS" in done.stderr
    assert "FOX_CONTROL_TLS_CERT and FOX_CONTROL_TLS_KEY" in done.stderr
    assert not (tmp_path / ".kubefox").exists()


def test_a_certificate_that_cannot_be_used_stops_the_start(
    tmp_path: Path, authority: Authority
) -> None:
    certificate, _ = authority.issue("one")
    _, key = authority.issue("two")

    done = run_fox(
        tmp_path, "up", FOX_CONTROL_TLS_CERT=str(certificate), FOX_CONTROL_TLS_KEY=str(key)
    )

    assert done.returncode == 1
    assert "the key belongs to another certificate" in done.stderr


def test_plain_text_gets_no_answer(platform: RunningPlatform) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", platform.control_port, timeout=30)
    connection.request("GET", "/healthz")

    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse()


@pytest.mark.parametrize(
    ("host", "status"), [("fox.example", b"200"), ("evil.example", b"403"), ("127.0.0.1", b"200")]
)
def test_the_host_is_checked_behind_tls_too(
    platform: RunningPlatform, authority: Authority, host: str, status: bytes
) -> None:
    with connect(platform, authority) as connected:
        answer = healthz(connected, host)

    assert answer.split()[1] == status


def test_a_new_certificate_is_served_and_open_connections_stay(
    platform: RunningPlatform, authority: Authority
) -> None:
    with connect(platform, authority) as old:
        file, _ = authority.issue("control", "fox.example", "127.0.0.1")
        expected = serial_in(file)
        platform.hang_up()

        while served_serial(platform, authority) != expected:
            pass

        assert serial_of(old.getpeercert(binary_form=True)) != expected
        assert healthz(old) == b"HTTP/1.1 200 OK"


def test_a_broken_certificate_is_refused_and_the_old_one_served(
    platform: RunningPlatform, authority: Authority
) -> None:
    file = authority.folder / "control.pem"
    before, content = serial_in(file), file.read_bytes()
    replace(file, b"broken")

    line = platform.wait_line("the old certificate is served on")

    assert str(file) in line
    assert served_serial(platform, authority) == before
    replace(file, content)
