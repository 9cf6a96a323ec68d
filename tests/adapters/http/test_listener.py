"""The end of a listener loses no request: of idle connections, and of those not accepted yet."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from pathlib import Path

import pytest

from adapters.http import shared_port
from adapters.http.aiohttp_internals import HttpProcessingError
from adapters.http.limits import HttpLimits
from adapters.http.listener import MOST_ACCEPTED, Listener
from adapters.http.request import Request
from adapters.http.response import HttpResponse
from adapters.http.shared_port import SharedSockets
from adapters.http.turns import Turns
from tests.adapters.http.limits import with_limits
from tests.adapters.http.raw import ask, connect
from tests.support.certificates import Authority

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LONG_S = 60
SHORT_S = 0.05
TIMEOUT_S = 20
HOST = "127.0.0.1"


def make_listener(
    limits: HttpLimits, body: bytes = b"", tls: ssl.SSLContext | None = None
) -> Listener:
    async def answer(_request: Request) -> HttpResponse:
        return HttpResponse(200, "", body)

    def refuse(failure: HttpProcessingError) -> HttpResponse:
        return HttpResponse(400, "", failure.message.encode())

    return Listener(answer, refuse, limits, Turns(), tls)


def bind(count: int) -> tuple[list[socket.socket], int]:
    address, port = shared_port.resolve(HOST, 0)
    sockets: list[socket.socket] = []
    shared_port.add_sockets(sockets, count, address, port)
    return sockets, port


def send_without_waiting(port: int, data: bytes = GET) -> socket.socket:
    """Send a request, or other bytes, on a connection that only the kernel has accepted."""
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex((HOST, port))
    client.send(data)
    return client


async def response_on(client: socket.socket) -> bytes:
    loop, response = asyncio.get_running_loop(), b""
    with client:
        while part := await asyncio.wait_for(loop.sock_recv(client, 65536), TIMEOUT_S):
            response += part
    return response


@pytest.mark.parametrize("is_shared", [False, True])
async def test_the_kernel_finds_out_whether_the_clients_of_all_connections_still_exist(
    limits: HttpLimits, *, is_shared: bool
) -> None:
    listener = make_listener(limits)
    if is_shared:
        sockets, _ = bind(1)
        port = await listener.open_shared(SharedSockets(tuple(sockets)))
    else:
        port = await listener.open(HOST, 0)
    async with connect(port) as client:
        await client.send(GET)
        await client.read()
        (connection,) = listener.connections
        assert connection.transport is not None
        accepted = connection.transport.get_extra_info("socket")
        options = [
            accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
        ]
    await listener.close()

    assert options == [1, 60, 1]


async def test_an_idle_connection_answers_one_more_request_and_says_that_it_ends(
    limits: HttpLimits,
) -> None:
    listener = make_listener(limits)
    port = await listener.open(HOST, 0)
    async with connect(port) as used, connect(port) as new:
        await used.send(GET)
        await used.read()
        closing = asyncio.create_task(listener.close(idle_grace_s=LONG_S))
        while listener.is_open:
            await asyncio.sleep(0)
        for client in (used, new):
            await client.send(GET)
            answer = await client.read()

            assert (answer.status, answer.header("connection")) == (200, "close")
            assert await client.wait_closed() == b""
        await closing


async def test_an_idle_connection_is_closed_after_the_grace_time(limits: HttpLimits) -> None:
    listener = make_listener(limits)
    port = await listener.open(HOST, 0)
    async with connect(port) as client:
        await client.send(GET)
        await client.read()

        await listener.close(idle_grace_s=SHORT_S)

        assert await client.wait_closed() == b""


@with_limits(drain_timeout_s=0.2)
async def test_the_drain_timeout_limits_the_grace_time(limits: HttpLimits) -> None:
    listener = make_listener(limits)
    port = await listener.open(HOST, 0)
    async with connect(port) as client:
        await listener.close(idle_grace_s=LONG_S)

        assert await client.wait_closed() == b""


@pytest.mark.parametrize("grace_s", [0, SHORT_S])
async def test_closing_answers_connections_that_have_not_been_accepted(
    limits: HttpLimits, grace_s: float
) -> None:
    listener = make_listener(limits)
    port = await listener.open(HOST, 0)

    clients = [send_without_waiting(port) for _ in range(50)]
    await listener.close(idle_grace_s=grace_s)

    for client in clients:
        response = await response_on(client)
        assert response.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in response.lower()


@with_limits(max_connections=20)
async def test_connections_that_arrive_together_take_no_more_than_the_most(
    limits: HttpLimits,
) -> None:
    listener = make_listener(limits)
    port = await listener.open(HOST, 0)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(limits.max_connections):
            await stack.enter_async_context(connect(port))
        while len(listener.connections) < limits.max_connections:
            await asyncio.sleep(0)
        clients = [send_without_waiting(port) for _ in range(MOST_ACCEPTED // 4)]
        for client in clients:
            client.setblocking(False)
            assert (await asyncio.get_running_loop().sock_recv(client, 12)) == b"HTTP/1.1 200"

        assert len(listener.connections) <= limits.max_connections + 1
    await listener.close()
    for client in clients:
        client.close()


@pytest.mark.parametrize("is_shared", [False, True])
async def test_connections_that_arrive_together_are_accepted_in_a_few_turns_of_the_loop(
    limits: HttpLimits, *, is_shared: bool
) -> None:
    listener = make_listener(limits)
    if is_shared:
        sockets, _ = bind(1)
        port = await listener.open_shared(SharedSockets(tuple(sockets)))
    else:
        port = await listener.open(HOST, 0)
    clients = [send_without_waiting(port) for _ in range(2 * MOST_ACCEPTED)]
    turns = 0
    while len(listener.connections) < len(clients):
        await asyncio.sleep(0)
        turns += 1

    # The event loop alone accepts one in a turn.
    assert turns < len(clients) / 4
    closing = asyncio.create_task(listener.close())
    for client in clients:
        assert (await response_on(client)).startswith(b"HTTP/1.1 200 ")
    await closing


async def test_a_client_that_does_not_finish_its_handshake_delays_no_other_at_the_end(
    limits: HttpLimits, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    files = await asyncio.to_thread(authority.issue, "http")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    listener = make_listener(limits, tls=context)
    port = await listener.open(HOST, 0)
    silent = [send_without_waiting(port, b"\x16\x03\x01") for _ in range(2)]
    client = send_without_waiting(port, b"")

    closing = asyncio.create_task(listener.close())
    trusting = await asyncio.to_thread(authority.client_context)
    reader, writer = await asyncio.open_connection(sock=client, ssl=trusting, server_hostname=HOST)
    writer.write(GET)
    response = await reader.read()

    assert response.startswith(b"HTTP/1.1 200 ")
    assert not closing.done()
    await closing
    writer.close()
    for one in silent:
        one.close()


async def test_a_listener_accepts_what_waits_for_another_process(limits: HttpLimits) -> None:
    sockets, port = bind(2)
    listener = make_listener(limits)
    await listener.open_shared(shared_port.share(sockets, 0, 2))

    statuses = [(await ask(port, GET)).status for _ in range(20)]

    assert statuses == [200] * 20
    await listener.close()


async def test_a_socket_passes_from_one_listener_to_the_next_without_a_lost_connection(
    limits: HttpLimits,
) -> None:
    [kept], port = bind(1)
    old, new = make_listener(limits, b"old"), make_listener(limits, b"new")
    await old.open_shared(SharedSockets((kept.dup(),)))
    await old.close()

    client = send_without_waiting(port)
    await new.open_shared(SharedSockets((kept,)))
    await asyncio.sleep(0)

    await asyncio.gather(new.close(idle_grace_s=SHORT_S))
    assert (await response_on(client)).endswith(b"new")


@pytest.mark.parametrize(("sockets", "workers"), [(1, 1), (2, 2), (5, 2), (4, 4)])
def test_each_socket_is_the_own_one_of_one_worker(sockets: int, workers: int) -> None:
    bound, _ = bind(sockets)
    with shared_port.closing(bound):
        shares = [shared_port.share(bound, worker, workers) for worker in range(workers)]

        assert sorted(own.fileno() for share in shares for own in share.own) == sorted(
            own.fileno() for own in bound
        )
        assert all(share.own and {*share.own, *share.others} == {*bound} for share in shares)


def test_no_copy_of_a_shared_socket_makes_it_block() -> None:
    bound, _ = bind(1)
    with shared_port.closing(bound):
        adopted = shared_port.adopt(os.dup(bound[0].fileno()))
        copies = [adopted, adopted.dup(), bound[0].dup()]

        assert not os.get_blocking(bound[0].fileno())
        for copy in copies:
            copy.close()
