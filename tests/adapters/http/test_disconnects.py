"""Clients that disconnect while they wait for an answer."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from adapters.http.aiohttp_internals import HttpProcessingError
from adapters.http.limits import HttpLimits
from adapters.http.listener import Listener
from adapters.http.request import Request
from adapters.http.response import HttpResponse
from adapters.http.turns import MOST_STEPS, Turns
from tests.adapters.http.raw import connect

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
WAIT_S = 120
CLIENTS = 5 * MOST_STEPS


class WaitingSite:
    """Answers when the test releases it, and records the requests that were cancelled."""

    def __init__(self, limits: HttpLimits) -> None:
        self.listener = Listener(self.answer, self.refuse, limits, Turns())
        self.begun, self.cancelled, self.released = (asyncio.Event() for _ in range(3))

    async def answer(self, request: Request) -> HttpResponse:
        self.begun.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return HttpResponse(200, "", b"done")

    def refuse(self, failure: HttpProcessingError) -> HttpResponse:
        return HttpResponse(400, "", failure.message.encode())


@pytest.fixture
async def waiting(limits: HttpLimits) -> AsyncIterator[tuple[WaitingSite, int]]:
    site = WaitingSite(limits)
    port = await site.listener.open("127.0.0.1", 0)
    yield site, port
    site.released.set()
    await site.listener.close()


@pytest.mark.parametrize("resets", [True, False])
async def test_a_request_is_cancelled_when_its_client_disconnects(
    waiting: tuple[WaitingSite, int], *, resets: bool
) -> None:
    site, port = waiting
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(GET)
    await site.begun.wait()

    if resets:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()

    async with asyncio.timeout(WAIT_S):
        await site.cancelled.wait()


async def test_when_many_clients_leave_at_once_few_requests_end_in_one_turn_of_the_loop(
    limits: HttpLimits,
) -> None:
    ended: list[int] = [0]

    async def answer(_request: Request) -> HttpResponse:
        try:
            await asyncio.Event().wait()
        finally:
            ended[-1] += 1
        raise AssertionError

    listener = Listener(answer, WaitingSite(limits).refuse, limits, Turns())
    port = await listener.open("127.0.0.1", 0)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(CLIENTS)]
    for client in clients:
        client.sendall(GET)
    while sum(not connection.is_idle for connection in listener.connections) < CLIENTS:
        await asyncio.sleep(0.01)

    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    while sum(ended) < CLIENTS:
        await asyncio.sleep(0)
        ended.append(0)
    await listener.close()

    assert max(ended) <= MOST_STEPS + 1


async def test_a_client_that_only_ends_its_side_gets_an_interim_and_its_answer(
    waiting: tuple[WaitingSite, int],
) -> None:
    site, port = waiting
    async with connect(port) as client:
        await client.send(GET)
        client.end()

        interim = await client.read_head()
        site.released.set()
        answer = await client.read()

    assert interim.status == 100
    assert answer.body == b"done"
    assert not site.cancelled.is_set()


async def test_a_client_of_http_1_0_gets_no_interim_response(
    waiting: tuple[WaitingSite, int],
) -> None:
    site, port = waiting
    async with connect(port) as client:
        await client.send(GET.replace(b"1.1", b"1.0"))
        client.end()
        await asyncio.sleep(0.1)
        site.released.set()

        assert (await client.read()).body == b"done"
