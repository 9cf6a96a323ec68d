"""The embedded NATS: what fails in it is told apart from what fails beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from broker.bus import connect
from broker.settings import MIB
from fox.nats_server import run_nats_server
from model.errors import NatsUnavailable


def test_a_failure_beside_a_running_server_stays_what_it_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with run_nats_server(tmp_path):
            raise TimeoutError("something else took too long")

    with pytest.raises(TimeoutError, match="something else"):
        asyncio.run(run())


def test_a_server_that_cannot_start_is_told_with_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "jetstream").write_text("not a folder")

    async def run() -> None:
        async with run_nats_server(tmp_path):
            pass

    with pytest.raises(NatsUnavailable, match=r"(?s)did not start.*not a directory"):
        asyncio.run(run())


async def test_a_client_that_is_behind_with_large_messages_keeps_its_connection(
    tmp_path: Path,
) -> None:
    count, payload = 20, bytes(5 * MIB)
    async with (
        run_nats_server(tmp_path) as server,
        connect(server.url, process_id="p") as bus,
        subscribed(server.url, "answers") as reader,
    ):
        for _ in range(count):
            await bus.publish("answers", payload)
        await bus.flush()

        for _ in range(count):
            assert await reader.readline() == b"MSG answers 1 %d\r\n" % len(payload)
            await reader.readexactly(len(payload) + 2)


@asynccontextmanager
async def subscribed(url: str, subject: str) -> AsyncIterator[asyncio.StreamReader]:
    """Subscribe and read nothing more than is asked for."""
    address = urlsplit(url)
    login = {"user": address.username, "pass": address.password, "verbose": False}
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        await reader.readline()
        words = b"CONNECT " + msgspec.json.encode(login) + b"\r\nSUB %s 1\r\nPING\r\n"
        writer.write(words % subject.encode())
        assert await reader.readline() == b"PONG\r\n"
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
