"""Bodies that a handler takes whole are gathered before their event is sent, in fair shares."""

from __future__ import annotations

import asyncio

import pytest

from adapters.http.server import HttpAdapter
from tests.adapters.http.echo import LIMIT_BYTES, problem
from tests.adapters.http.limits import with_limits
from tests.adapters.http.raw import Connection, ask, connect
from tests.adapters.http.streaming import POST, StreamingWorld
from tests.support.world import World

CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
HALF = LIMIT_BYTES // 2


async def wait_held(adapter: HttpAdapter, size_bytes: int) -> None:
    while adapter.body_bytes != size_bytes:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (CHUNKED + b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc", b"def"),
    ],
)
async def test_no_event_is_sent_before_its_whole_body_has_arrived(
    world: World, adapter: HttpAdapter, echo: int, begin: bytes, end: bytes
) -> None:
    async with connect(echo) as client:
        await client.send(begin)
        await wait_held(adapter, 3)
        in_flight = world.broker.in_flight
        await client.send(end)
        answer = await client.read()

    assert in_flight == 0
    assert answer.json()["body"] == "abcdef"


async def test_a_handler_that_streams_gets_the_first_part_of_a_body_at_once(
    streaming: StreamingWorld,
) -> None:
    async with connect(streaming.port) as client:
        await client.send(POST % b"/read/echo" + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await client.read_head()
        assert await client.read_some(8) == b"3\r\nabc\r\n"
        await client.send(b"0\r\n\r\n")
        assert await client.read_some(5) == b"0\r\n\r\n"


async def test_the_gathered_bodies_of_one_environment_leave_memory_for_those_of_another(
    world: World, adapter: HttpAdapter, echo: int
) -> None:
    await world.plane.virtual_environment("team-b")
    head = b"POST /?kf-dep=v1&kf-ve=%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    async with connect(echo) as first, connect(echo) as second:
        for client in (first, second):
            await client.send(head % (b"team-a", LIMIT_BYTES) + bytes(HALF))
        await wait_held(adapter, 2 * HALF)
        own = await ask(echo, head % (b"team-a", HALF) + bytes(HALF))
        others = [await ask(echo, head % (b"team-b", 100) + bytes(100)) for _ in range(20)]

    assert problem(own) == (503, "overloaded")
    assert own.header("retry-after") == "1"
    assert {answer.status for answer in others} == {200}


@with_limits(stall_timeout_s=0.05, min_bytes_per_s=1e9)
async def test_a_body_below_the_minimum_rate_is_refused_though_it_never_pauses(echo: int) -> None:
    async with connect(echo) as client:
        answering = asyncio.create_task(send_slowly(client, CHUNKED))
        answer = await client.read()
        answering.cancel()

    assert problem(answer) == (408, "body_too_slow")
    assert answer.header("connection") == "close"


@with_limits(stall_timeout_s=0.05, min_bytes_per_s=1e9)
async def test_a_streamed_body_below_the_minimum_rate_is_refused(
    streaming: StreamingWorld,
) -> None:
    head = POST % b"/read/digest" + b"Transfer-Encoding: chunked\r\n\r\n"
    async with connect(streaming.port) as client:
        sending = asyncio.create_task(send_slowly(client, head))
        answer = await client.read()
        sending.cancel()

    assert problem(answer) == (408, "body_too_slow")


@with_limits(stream_max_s=0.05)
async def test_a_streamed_body_that_takes_too_long_is_refused(streaming: StreamingWorld) -> None:
    head = POST % b"/read/digest" + b"Transfer-Encoding: chunked\r\n\r\n"
    async with connect(streaming.port) as client:
        sending = asyncio.create_task(send_slowly(client, head))
        answer = await client.read()
        sending.cancel()

    assert problem(answer) == (408, "body_too_slow")


async def send_slowly(client: Connection, head: bytes) -> None:
    """Send a body without end, a byte at a time."""
    await client.send(head)
    while True:
        await client.send(b"1\r\na\r\n")
        await asyncio.sleep(0.001)
