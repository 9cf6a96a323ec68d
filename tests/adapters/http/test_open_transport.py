"""A client that resets its TLS connection has left before the event loop says so."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.http.aiohttp_internals import ParsingProtocol
from adapters.http.framing import CloseDelimitedFraming, cut_connection
from tests.adapters.http.limits import DEFAULTS
from tests.support.certificates import Authority

HOST = "127.0.0.1"
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


@pytest.fixture
def connections() -> list[ParsingProtocol]:
    return []


@pytest.fixture
def connect(connections: list[ParsingProtocol]) -> Callable[[], ParsingProtocol]:
    """Return what makes a connection and notes it."""

    def make() -> ParsingProtocol:
        connections.append(ParsingProtocol(DEFAULTS))
        return connections[-1]

    return make


async def test_nothing_is_written_to_a_client_that_has_reset_its_connection(
    connections: list[ParsingProtocol], connect: Callable[[], ParsingProtocol], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    files = await asyncio.to_thread(authority.issue, "http")
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(*files)
    trusting = await asyncio.to_thread(authority.client_context)
    server = await asyncio.get_running_loop().create_server(connect, HOST, 0, ssl=own)

    def reset() -> None:
        address = server.sockets[0].getsockname()
        with (
            socket.create_connection(address) as plain,
            trusting.wrap_socket(plain, server_hostname=HOST) as client,
        ):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)

    async with server:
        resetting = asyncio.create_task(asyncio.to_thread(reset))
        while not connections or (transport := connections[0].transport) is None:
            await asyncio.sleep(0)
        was_open = connections[0].open_transport() is transport
        # Looks at every turn of the event loop, so also at the one in which the socket is closed.
        while not transport.is_closing():
            await asyncio.sleep(0)
        with pytest.raises(ConnectionResetError, match="the client has disconnected"):
            connections[0].open_transport()
        cut_connection(transport, CloseDelimitedFraming())
        await resetting

    assert was_open
