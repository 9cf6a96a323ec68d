"""The embedded NATS: its start, its failures and its limits."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from broker.nats.bus import Bus
from broker.nats.credentials.claims import ALL
from broker.nats.credentials.login import Login
from broker.runtime.settings import MIB
from fox import nats_server
from fox.nats_server import MAX_ENDS, NatsServer, run_nats_server
from kubefox.errors import NatsUnavailable
from tests.support.platform_nats import connect


def test_an_exception_in_the_context_of_a_running_server_is_not_changed(tmp_path: Path) -> None:
    async def run() -> None:
        async with run_nats_server(tmp_path):
            raise TimeoutError("something else took too long")

    with pytest.raises(TimeoutError, match="something else"):
        asyncio.run(run())


def test_the_error_of_a_failed_start_holds_the_servers_last_lines(tmp_path: Path) -> None:
    (tmp_path / "jetstream").write_text("not a folder")

    async def run() -> None:
        async with run_nats_server(tmp_path):
            pass

    with pytest.raises(NatsUnavailable, match=r"(?s)did not start.*not a directory"):
        asyncio.run(run())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_server_that_ends_is_started_again_on_its_address(
    tmp_path: Path, how: signal.Signals
) -> None:
    async with (
        run_nats_server(tmp_path) as server,
        connected(server) as bus,
    ):
        url, reconnected = server.url, asyncio.Event()

        async def note() -> None:
            reconnected.set()

        bus.on_reconnect(note)
        await end(server, how)

        async with asyncio.timeout(20):
            await reconnected.wait()
        assert server.url == url
        assert not server.exited.done()


async def test_a_server_that_ends_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pods.backoff.FIRST_S", 0.001)
    async with run_nats_server(tmp_path) as server:
        for _ in range(MAX_ENDS):
            await end(server, signal.SIGKILL)
        assert not server.exited.done()
        os.kill(server.pid, signal.SIGKILL)

        async with asyncio.timeout(20):
            await server.exited


def connected(server: NatsServer) -> AbstractAsyncContextManager[Bus]:
    return connect(server.access.login("p", ALL))


async def end(server: NatsServer, how: signal.Signals) -> None:
    """End the process, and wait until another one accepts clients."""
    first = server.pid
    os.kill(first, how)
    async with asyncio.timeout(20):
        while server.pid == first or "Server is ready" not in server.last_lines:
            await asyncio.sleep(0.01)


async def test_a_slow_reader_of_large_messages_keeps_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By default, nats-server leaves a client that does not take in 10 s what was written to it: a
    # slow machine needs more for all messages.
    monkeypatch.setattr(nats_server, "_CONFIG", nats_server._CONFIG + 'write_deadline: "5m"\n')
    count, payload = 20, bytes(5 * MIB)
    async with (
        run_nats_server(tmp_path) as server,
        connected(server) as bus,
        subscribed(server.access.login("q", ALL), "answers") as reader,
    ):
        for _ in range(count):
            await bus.publish("answers", payload)
        await bus.flush()

        for _ in range(count):
            assert await reader.readline() == b"MSG answers 1 %d\r\n" % len(payload)
            await reader.readexactly(len(payload) + 2)


@asynccontextmanager
async def subscribed(login: Login, subject: str) -> AsyncIterator[asyncio.StreamReader]:
    """Subscribe over a plain socket, which reads only when the test reads."""
    address = urlsplit(login.url)
    assert login.credentials is not None
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        info = msgspec.json.decode((await reader.readline()).removeprefix(b"INFO "))
        answer = login.credentials.sign(info["nonce"])
        options = {"jwt": login.credentials.token, "sig": answer.decode(), "verbose": False}
        commands = b"CONNECT " + msgspec.json.encode(options) + b"\r\nSUB %s 1\r\nPING\r\n"
        writer.write(commands % subject.encode())
        assert await reader.readline() == b"PONG\r\n"
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
