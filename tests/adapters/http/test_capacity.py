"""The places of an adapter: one deployment in one environment leaves some for all others."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.capacity import Capacity, release
from adapters.http.limits import HttpLimits
from adapters.http.server import HttpAdapter
from broker.runtime.fair_share import FairShare, Lane
from kubefox.errors import Overloaded
from kubefox.refusal import Refusal
from tests.adapters.http.echo import problem
from tests.adapters.http.limits import with_limits
from tests.adapters.http.raw import Connection, ask, connect
from tests.adapters.http.streaming import StreamingWorld

REQUEST = b"GET %s?kf-dep=v1&kf-ve=%s HTTP/1.1\r\nHost: x\r\n\r\n"
BEGUN_BODY = (
    b"POST /size?kf-dep=v1&kf-ve=team-a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc"
)


async def open_all(stack: contextlib.AsyncExitStack, port: int, count: int) -> list[Connection]:
    return [await stack.enter_async_context(connect(port)) for _ in range(count)]


async def until_taken(adapter: HttpAdapter, *, requests: int = 0, streams: int = 0) -> None:
    capacity = adapter._capacity
    while (capacity.requests.taken, capacity.streams.taken) != (requests, streams):
        await asyncio.sleep(0.001)


@with_limits(max_requests=3)
async def test_open_requests_of_one_environment_leave_places_for_those_of_another(
    streaming: StreamingWorld,
) -> None:
    await streaming.plane.virtual_environment("team-b")
    async with contextlib.AsyncExitStack() as stack:
        flood = await open_all(stack, streaming.port, 3)
        for client in flood:
            await client.send(BEGUN_BODY)
        await until_taken(streaming.adapter, requests=3)

        own = await ask(streaming.port, REQUEST % (b"/size", b"team-a"))
        others = [await ask(streaming.port, REQUEST % (b"/size", b"team-b")) for _ in range(20)]
        for client in flood:
            await client.send(b"def")
        ended = [await client.read() for client in flood]

    assert problem(own) == (503, "overloaded")
    assert own.header("retry-after") == "1"
    assert {answer.status for answer in (*others, *ended)} == {200}
    await until_taken(streaming.adapter)


@with_limits(max_streams=3)
async def test_open_streams_leave_places_for_requests_and_for_streams_of_others(
    streaming: StreamingWorld,
) -> None:
    await streaming.plane.virtual_environment("team-b")
    async with contextlib.AsyncExitStack() as stack:
        for client in await open_all(stack, streaming.port, 3):
            await client.send(REQUEST % (b"/endless", b"team-a"))
            await client.read_until(b"more")
        await until_taken(streaming.adapter, streams=3)

        own = [await ask(streaming.port, REQUEST % (b"/size", b"team-a")) for _ in range(20)]
        one_more = await ask(streaming.port, REQUEST % (b"/endless", b"team-a"))
        [other] = await open_all(stack, streaming.port, 1)
        await other.send(REQUEST % (b"/endless", b"team-b"))
        others = await other.read_head()

    assert {answer.status for answer in own} == {200}
    assert problem(one_more) == (503, "overloaded")
    assert others.status == 200
    await until_taken(streaming.adapter)


@with_limits(max_connections=20)
async def test_a_new_connection_takes_the_place_of_an_idle_one_and_never_of_a_request(
    streaming: StreamingWorld,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        [busy] = await open_all(stack, streaming.port, 1)
        await busy.send(BEGUN_BODY)
        await until_taken(streaming.adapter, requests=1)
        idle = await open_all(stack, streaming.port, 50)

        answers = [await ask(streaming.port, REQUEST % (b"/size", b"team-a")) for _ in range(10)]
        await busy.send(b"def")
        answers.append(await busy.read())
        assert await idle[0].wait_closed() == b""

    assert {answer.status for answer in answers} == {200}
    assert streaming.adapter._listener.evicted >= 31


class Exchange:
    """A request as far as places are concerned."""

    def __init__(self, capacity: Capacity) -> None:
        self.lane: Lane = ""
        self.share: FairShare | None = None
        capacity.admit(self, "lane")


def test_a_stream_takes_no_place_of_a_request() -> None:
    capacity = Capacity(HttpLimits(max_requests=1, max_streams=1))
    stream = Exchange(capacity)
    capacity.begin_stream(stream)
    capacity.begin_stream(stream)

    second = Exchange(capacity)
    with pytest.raises(Overloaded) as refused:
        capacity.begin_stream(second)
    for exchange in (second, second, stream):
        release(exchange)

    assert refused.value.refusal is Refusal.STREAMS
    assert capacity.requests.taken == capacity.streams.taken == 0


@given(st.integers(300, 100_000), st.integers(1, 20_000), st.integers(1, 20_000))
def test_a_tenth_of_the_connections_has_no_request_however_few_files_may_be_open(
    files: int, requests: int, streams: int
) -> None:
    limits = HttpLimits(max_requests=requests, max_streams=streams).for_files(files)

    assert limits.max_connections < files
    assert limits.max_requests <= requests
    used = 2 * (limits.max_requests + limits.max_streams)
    # Each kind has one place at least.
    assert used <= 0.9 * limits.max_connections + 4
