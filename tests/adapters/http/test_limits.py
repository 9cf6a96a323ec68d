"""Limits of requests: sizes, timeouts and memory."""

from __future__ import annotations

import asyncio

import pytest

from adapters.http.server import HttpAdapter
from tests.adapters.http.echo import LIMIT_BYTES, problem
from tests.adapters.http.limits import with_limits
from tests.adapters.http.raw import ask, connect
from tests.support.garbage import leaves_no_frame_of


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: %d\r\n\r\n" % (LIMIT_BYTES + 1),
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (LIMIT_BYTES + 1) + bytes(LIMIT_BYTES + 1),
        b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (LIMIT_BYTES + 1),
    ],
)
async def test_a_body_over_the_limit_is_refused(echo: int, framing: bytes) -> None:
    answer = await ask(echo, b"POST / HTTP/1.1\r\nHost: x\r\n" + framing)

    assert problem(answer) == (413, "body_too_large")


@with_limits(body_timeout_s=0.01)
async def test_a_body_that_does_not_arrive_in_time_is_refused(echo: int) -> None:
    answer = await ask(echo, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")

    assert problem(answer) == (408, "body_too_slow")


async def test_a_request_is_refused_while_other_bodies_fill_the_body_memory(
    echo: int,
) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    half = b"a" * (LIMIT_BYTES // 2)
    async with connect(echo) as first:
        await first.send(head % LIMIT_BYTES + half)
        async with connect(echo) as second:
            await second.send(head % LIMIT_BYTES + half)
            # Memory is counted as bytes are read: until both are read, a third request succeeds.
            while (refused := await ask(echo, head % len(half) + half)).status == 200:
                pass

        await first.send(half)
        taken = await first.read()

    assert problem(refused) == (503, "overloaded")
    assert taken.status == 200
    while (await ask(echo, head % LIMIT_BYTES + half + half)).status != 200:
        pass  # until the adapter has noticed that the second client is gone


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /?kf-ve=none HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /fail HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n\r\n",
    ],
)
async def test_a_failed_request_leaks_no_memory(echo: int, request_: bytes) -> None:
    with leaves_no_frame_of("adapters/http"):
        assert (await ask(echo, request_)).status >= 400
        await ask(echo, b"GET /after HTTP/1.1\r\nHost: x\r\n\r\n")


async def test_a_client_that_disconnects_during_its_body_leaks_no_memory(
    echo: int, adapter: HttpAdapter
) -> None:
    with leaves_no_frame_of("adapters/http"):
        async with connect(echo) as connection:
            await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            while adapter.body_bytes != 3:
                await asyncio.sleep(0)
        while adapter.body_bytes:
            await asyncio.sleep(0)
        await ask(echo, b"GET /after HTTP/1.1\r\nHost: x\r\n\r\n")


async def test_a_body_of_exactly_the_limit_is_accepted(echo: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LIMIT_BYTES

    answer = await ask(echo, head + b"a" * LIMIT_BYTES)

    assert answer.json()["body"] == "a" * LIMIT_BYTES


@pytest.mark.parametrize(
    "headers",
    [
        b"X: " + b"a" * 70_000 + b"\r\n",
        b"a" * 70_000 + b": x\r\n",
        b"".join(b"X%d: %s\r\n" % (number, b"a" * 1000) for number in range(80)),
        b"".join(b"X%d: a\r\n" % number for number in range(5000)),
    ],
)
async def test_headers_over_the_limit_are_refused(echo: int, headers: bytes) -> None:
    answer = await ask(echo, b"GET / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")

    assert problem(answer) == (431, "headers_too_large")


async def test_a_target_over_the_limit_is_refused(echo: int) -> None:
    answer = await ask(echo, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")

    assert problem(answer) == (431, "headers_too_large")


async def test_a_client_that_disconnects_during_its_body_does_not_affect_other_requests(
    echo: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(echo) as connection:
        await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")

    answer = await ask(echo, b"GET /after HTTP/1.1\r\nHost: x\r\n\r\n")

    assert answer.json()["path"] == "/after"
    assert "Traceback" not in caplog.text
