"""A first connection that fails: no server is there, or the server does not accept the client."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from broker.nats import bus as buses
from kubefox.errors import NatsUnavailable

INFO = json.dumps({"server_id": "N", "version": "2.15.1", "max_payload": 1 << 20, "client_id": 1})
RESET = struct.pack("ii", 1, 0)
"""Without lingering, a socket with unread bytes is reset when it is closed."""

End = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse the client as a server whose refusal the reset of the connection overtakes."""
    await reader.readline()
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


async def end(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.readline()


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"-ERR 'maximum account active connections exceeded'\r\n")
    await writer.drain()


@asynccontextmanager
async def refusing(ends: End) -> AsyncIterator[str]:
    """Run a server that greets each client as NATS does, and ends the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"INFO {INFO}\r\n".encode())
        await ends(reader, writer)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def failure_of(url: str, first_connect_s: float = 0.3) -> str:
    with pytest.raises(NatsUnavailable) as caught:
        async with buses.connect(url, process_id="one", first_connect_s=first_connect_s):
            pass
    return str(caught.value)


@pytest.mark.parametrize("ends", [reset, end])
async def test_a_server_that_ends_the_connection_is_not_called_absent(ends: End) -> None:
    async with refusing(ends) as address:
        failure = await failure_of(f"nats://{address}")
        with_password = await failure_of(f"nats://fox:secret@{address}")

    assert f"the NATS server at {address} ends the connection" in failure
    assert "clients without credentials" in failure
    assert "--nats-credentials" in failure
    assert "these credentials" in with_password
    assert "secret" not in with_password


async def test_another_refusal_of_a_server_is_passed_on() -> None:
    async with refusing(refuse) as address:
        failure = await failure_of(f"nats://{address}")

    assert failure.startswith(f"the NATS server at {address} refuses the connection: ")
    assert "maximum account active connections exceeded" in failure


async def test_the_cause_is_named_when_the_first_attempt_outlasts_the_time() -> None:
    async with refusing(refuse) as address:
        failure = await failure_of(f"nats://{address}", first_connect_s=0)

    assert "maximum account active connections exceeded" in failure


async def test_a_server_that_is_no_nats_server_is_no_nats() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        failure = await failure_of(f"nats://{address}")

    assert failure.startswith(f"no NATS at nats://{address}: ")
