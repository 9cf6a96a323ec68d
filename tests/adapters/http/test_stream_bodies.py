"""Bodies of any length on real sockets, through HTTP, the broker and components."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.adapters.http.raw import connect
from tests.adapters.http.streaming import GET, MIB, POST, StreamingWorld, open_streaming_world
from tests.support.nats import NatsServer


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_handler_can_stream_a_body_of_any_length(
    streaming: StreamingWorld, is_chunked: bool
) -> None:
    part, parts = b"0123456789abcdef" * 4096, 320

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(parts):
            yield part

    headers = {} if is_chunked else {"content-length": str(len(part) * parts)}
    async with aiohttp.ClientSession() as client:
        sent = client.post(streaming.url("/read/digest"), data=chunks(), headers=headers)
        async with sent as answer:
            text = await answer.text()

    assert text == f"{len(part) * parts} {hashlib.sha256(part * parts).hexdigest()}"


async def test_a_body_is_streamed_in_both_directions_at_once(
    streaming: StreamingWorld,
) -> None:
    async with connect(streaming.port) as connection:
        await connection.send(POST % b"/read/echo" + b"Transfer-Encoding: chunked\r\n\r\n")
        await connection.read_head()
        for chunk in (b"one", b"two"):
            await connection.send(b"3\r\n%s\r\n" % chunk)
            assert await connection.read_some(8) == b"3\r\n%s\r\n" % chunk
        await connection.send(b"0\r\n\r\n")
        assert await connection.read_some(5) == b"0\r\n\r\n"
        await connection.send(GET % b"/size")
        assert (await connection.read()).body == b"0"


@pytest.mark.parametrize(("size", "status"), [(3 * MIB, 200), (5 * MIB, 200), (5 * MIB + 1, 413)])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_handler_that_does_not_stream_gets_the_whole_body_within_the_limit(
    streaming: StreamingWorld, size: int, status: int, is_chunked: bool
) -> None:
    framing = (
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" if is_chunked else b"Content-Length: %d\r\n\r\n"
    )
    end = b"\r\n0\r\n\r\n" if is_chunked else b""
    async with connect(streaming.port) as connection:
        sending = asyncio.create_task(
            connection.send(POST % b"/size" + framing % size + bytes(size) + end)
        )
        answer = await connection.read()
        sending.cancel()
        await asyncio.wait([sending])

    assert answer.status == status
    assert status != 200 or answer.body == b"%d" % size


async def test_100_continue_is_sent_when_the_component_reads_the_body(
    streaming: StreamingWorld,
) -> None:
    head = b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    async with connect(streaming.port) as connection:
        await connection.send(POST % b"/read/digest" + head)
        assert (await connection.read_head()).status == 100
        await connection.send(bytes(1000000))
        assert (await connection.read()).body.startswith(b"1000000 ")
    async with connect(streaming.port) as connection:
        await connection.send(POST % b"/read/ignore" + head)
        assert (await connection.read()).body == b"not read"


async def test_components_stream_bodies_to_each_other_in_both_directions(
    streaming: StreamingWorld,
) -> None:
    size = 8 * MIB
    async with aiohttp.ClientSession() as client:
        async with client.post(streaming.url("/via"), data=io.BytesIO(bytes(size))) as answer:
            assert len(await answer.read()) == size
        async with client.get(streaming.url("/get/echo")) as answer:
            assert await answer.text() == str(2 * MIB)
        async with client.get(streaming.url("/get/fail")) as answer:
            assert (answer.status, (await answer.json())["code"]) == (500, "component_failed")


async def test_a_streamed_body_may_take_longer_than_the_event_ttl(
    own_nats_server: NatsServer,
) -> None:
    async with open_streaming_world(own_nats_server.url, event_ttl_s=1.0) as streaming:
        begun = asyncio.get_running_loop().time()
        async with connect(streaming.port) as connection:
            await connection.send(POST % b"/read/digest" + b"Transfer-Encoding: chunked\r\n\r\n")
            while asyncio.get_running_loop().time() < begun + 1.5:
                await connection.send(b"1\r\na\r\n")
                await asyncio.sleep(0.02)
            await connection.send(b"0\r\n\r\n")
            assert (await connection.read()).status == 200
