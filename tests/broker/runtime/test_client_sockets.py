"""Connections that break before their TLS handshake close no descriptor but their own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from broker.runtime.client_sockets import open_connector, open_socket

HOST = "127.0.0.1"
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as server:
        yield server


def reset_next(server: socket.socket) -> None:
    connection, _ = server.accept()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    connection.close()


def open_sockets() -> set[str]:
    """Return the names of the kernel for the sockets of this process."""
    targets = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the folder itself
            targets.add(str(link.readlink()))
    return {target for target in targets if target.startswith("socket:")}


def url_of(server: socket.socket) -> str:
    return f"https://{HOST}:{server.getsockname()[1]}"


def connect_to(server: socket.socket) -> socket.socket:
    address = server.getsockname()
    client = open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", address))
    client.connect(address)
    return client


async def test_a_socket_that_was_reset_does_not_close_the_descriptor_of_another(
    listening: socket.socket,
) -> None:
    loop = asyncio.get_running_loop()
    client = connect_to(listening)
    reset_next(listening)
    descriptor = client.fileno()

    with pytest.raises(ConnectionResetError):
        await loop.create_connection(
            asyncio.Protocol, sock=client, ssl=ssl.create_default_context(), server_hostname=HOST
        )
    other = os.open(os.devnull, os.O_RDONLY)
    del client
    # The closed transport has the last reference to the socket, for one more turn of the loop.
    await asyncio.sleep(0.01)
    gc.collect()

    assert other == descriptor
    os.close(other)


async def test_a_request_that_is_reset_before_the_handshake_fails_and_leaves_nothing(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    hand_over = loop.create_connection

    def reset_first(*arguments: Any, **options: Any) -> Any:
        reset_next(listening)
        return hand_over(*arguments, **options)

    monkeypatch.setattr(loop, "create_connection", reset_first)
    before = open_sockets()
    async with aiohttp.ClientSession(connector=open_connector()) as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(url_of(listening))
    # A socket that still has the number of a closed descriptor warns here, which is an error.
    gc.collect()

    assert open_sockets() <= before


async def test_a_request_that_is_cancelled_closes_its_socket(listening: socket.socket) -> None:
    before = open_sockets()
    async with aiohttp.ClientSession(connector=open_connector()) as session:
        with pytest.raises(TimeoutError):
            await session.get(url_of(listening), timeout=aiohttp.ClientTimeout(total=0.05))
    gc.collect()

    assert open_sockets() <= before
