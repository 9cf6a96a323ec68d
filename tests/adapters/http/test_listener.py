"""The end of a listener loses no request: of idle connections, and of those not accepted yet."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from adapters.http import shared_port
from adapters.http.aiohttp_internals import HttpProcessingError
from adapters.http.limits import HttpLimits
from adapters.http.listener import Listener
from adapters.http.request import Request
from adapters.http.response import HttpResponse
from adapters.http.shared_port import SharedSockets
from adapters.http.turns import Turns
from tests.adapters.http.limits import with_limits
from tests.adapters.http.raw import ask, connect

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LONG_S = 60
SHORT_S = 0.05
TIMEOUT_S = 20
HOST = "127.0.0.1"


def make_listener(limits: HttpLimits, body: bytes = b"") -> Listener:
    async def answer(_request: Request) -> HttpResponse:
        return HttpResponse(200, "", body)

    def refuse(failure: HttpProcessingError) -> HttpResponse:
        return HttpResponse(400, "", failure.message.encode())

    return Listener(answer, refuse, limits, Turns())


def bind(count: int) -> tuple[list[socket.socket], int]:
    address, port = shared_port.resolve(HOST, 0)
    sockets: list[socket.socket] = []
    shared_port.add_sockets(sockets, count, address, port)
    return sockets, port


def send_without_waiting(port: int) -> socket.socket:
    """Send a request on a connection that only the kernel has accepted."""
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex((HOST, port))
    client.send(GET)
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
