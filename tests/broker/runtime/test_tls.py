"""The certificate of a TLS server is served, reloaded, and kept if a new one cannot be used."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from broker.runtime.tls import ServerCertificate, load_certificate
from kubefox.errors import InvalidRequest
from tests.support.certificates import Authority, replace, rsa_key, serial_in, serial_of

SETTINGS = "FOX_X_CERT and FOX_X_KEY"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def files(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("server")


@pytest.fixture
def certificate(files: tuple[Path, Path]) -> ServerCertificate:
    return ServerCertificate(*files, SETTINGS)


class Connection:
    """An open connection to an echo server."""

    def __init__(self, connected: ssl.SSLSocket) -> None:
        self._socket = connected

    @property
    def serial(self) -> int:
        return serial_of(self._socket.getpeercert(binary_form=True))

    async def echo(self, line: bytes) -> bytes:
        await asyncio.to_thread(self._socket.sendall, line + b"\n")
        return (await asyncio.to_thread(self._socket.recv, 100)).strip()


class Server:
    """A TLS server that sends back what it gets."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.port, self.context = port, context

    @contextlib.asynccontextmanager
    async def connection(
        self, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
    ) -> AsyncIterator[Connection]:
        def connect() -> ssl.SSLSocket:
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            return (context or self.context).wrap_socket(plain, server_hostname=host)

        with await asyncio.to_thread(connect) as connected:
            yield Connection(connected)

    async def serial(self, host: str = "127.0.0.1") -> int:
        async with self.connection(host) as connection:
            return connection.serial


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(line)
    writer.close()


@pytest.fixture
async def server(certificate: ServerCertificate, authority: Authority) -> AsyncIterator[Server]:
    listening = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=certificate.context)
    port = listening.sockets[0].getsockname()[1]
    yield Server(port, authority.client_context())
    listening.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_new_connections_get_a_new_certificate(
    server: Server, authority: Authority, certificate: ServerCertificate, host: str
) -> None:
    async with server.connection(host) as old:
        before = old.serial
        authority.issue("server")

        changed = await asyncio.to_thread(certificate.reload_if_changed)

        assert changed
        assert await server.serial(host) == serial_in(authority.folder / "server.pem") != before
        assert await old.echo(b"still here") == b"still here"


async def test_a_new_kind_of_key_replaces_the_old_one(
    server: Server, authority: Authority, certificate: ServerCertificate
) -> None:
    authority.issue("server", key=rsa_key())

    await asyncio.to_thread(certificate.reload)

    assert await server.serial() == serial_in(authority.folder / "server.pem")


@pytest.mark.parametrize("interval_s", [0.01, 3600])
async def test_a_new_certificate_is_found_after_a_while_or_at_once_when_asked(
    server: Server,
    authority: Authority,
    certificate: ServerCertificate,
    monkeypatch: pytest.MonkeyPatch,
    interval_s: float,
) -> None:
    monkeypatch.setattr("broker.runtime.tls.CHECK_INTERVAL_S", interval_s)
    found: asyncio.Queue[bytes] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def keep(pem: bytes) -> None:
        loop.call_soon_threadsafe(found.put_nowait, pem)

    following = asyncio.create_task(certificate.follow(keep))
    file, _ = authority.issue("server")
    if interval_s > 1:
        certificate.ask_to_reload()

    pem = await found.get()

    assert pem == await asyncio.to_thread(file.read_bytes)
    assert await server.serial() == serial_in(file)
    following.cancel()


@pytest.mark.parametrize("fault", ["other key", "broken", "missing"])
async def test_a_certificate_that_cannot_be_used_is_refused_and_the_old_one_is_served(
    server: Server,
    authority: Authority,
    certificate: ServerCertificate,
    files: tuple[Path, Path],
    fault: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = await server.serial()
    if fault == "other key":
        replace(files[0], authority.issue("other")[0].read_bytes())
    elif fault == "broken":
        replace(files[0], b"-----BEGIN CERTIFICATE-----\nbroken\n")
    else:
        files[1].unlink()

    with caplog.at_level(logging.ERROR):
        changed = await asyncio.to_thread(certificate.reload_if_changed)

    assert not changed
    assert "the old certificate is served on" in caplog.text
    assert str(files[0]) in caplog.text
    assert await server.serial() == before


async def test_a_fault_is_logged_once_and_its_repair_is_found(
    server: Server,
    authority: Authority,
    certificate: ServerCertificate,
    files: tuple[Path, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    replace(files[1], b"")

    found = [await asyncio.to_thread(certificate.reload_if_changed) for _ in range(3)]
    authority.issue("server")
    found.append(await asyncio.to_thread(certificate.reload_if_changed))

    assert found == [False, False, False, True]
    assert caplog.text.count("the old certificate is served on") == 1
    assert await server.serial() == serial_in(files[0])


async def test_old_versions_of_tls_are_refused(server: Server, authority: Authority) -> None:
    old = authority.client_context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")

    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with server.connection(context=old):
            pass


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    certificate, _ = authority.issue("one")
    _, key = authority.issue("two")

    with pytest.raises(InvalidRequest, match="the key belongs to another certificate") as failure:
        load_certificate(str(certificate), str(key), SETTINGS)

    assert all(name in str(failure.value) for name in (str(certificate), str(key), SETTINGS))


def test_a_key_with_a_password_is_refused_without_a_question(
    authority: Authority, files: tuple[Path, Path]
) -> None:
    key = serialization.load_pem_private_key(files[1].read_bytes(), None)
    replace(
        files[1],
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        ),
    )

    with pytest.raises(InvalidRequest, match="cannot be used"):
        load_certificate(str(files[0]), str(files[1]), SETTINGS)


@pytest.mark.parametrize("given", [("cert.pem", ""), ("", "cert.key")])
def test_a_certificate_needs_its_key(given: tuple[str, str]) -> None:
    with pytest.raises(InvalidRequest, match=f"needs a certificate and its key: set {SETTINGS}"):
        load_certificate(*given, SETTINGS)


def test_without_settings_there_is_no_tls() -> None:
    assert load_certificate("", "", SETTINGS) is None


def test_a_key_that_others_can_read_is_reported(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    files[1].chmod(0o644)

    load_certificate(str(files[0]), str(files[1]), SETTINGS)

    assert f"other users can read the private key {files[1]}" in caplog.text
