"""Connections on real sockets, with a handler of the test instead of a platform."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from adapters.http.aiohttp_internals import HttpProcessingError, RequestPayloadError
from adapters.http.limits import HttpLimits
from adapters.http.listener import Listener
from adapters.http.request import Request
from adapters.http.response import HttpResponse
from adapters.http.turns import Turns
from tests.adapters.http.limits import DEFAULTS, with_limits
from tests.adapters.http.raw import ask, connect

GET = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = bytes(16 << 20)
MAX_PIPELINED = DEFAULTS.max_pipelined_requests


class Site:
    """A listener with the test's handler and limits."""

    def __init__(self, limits: HttpLimits) -> None:
        self.listener = Listener(self._handle, self._refuse, limits, Turns())
        self.answer: Callable[[Request], Awaitable[HttpResponse]] = echo_path
        self.port = 0

    async def _handle(self, request: Request) -> HttpResponse:
        return await self.answer(request)

    def _refuse(self, failure: HttpProcessingError) -> HttpResponse:
        return HttpResponse(400, "", failure.message.encode())


async def echo_path(request: Request) -> HttpResponse:
    body = await request.content.read()
    return HttpResponse(200, "", request.message.path.encode() + body)


@pytest.fixture
async def site(limits: HttpLimits) -> AsyncIterator[Site]:
    site = Site(limits)
    site.port = await site.listener.open("127.0.0.1", 0)
    yield site
    await site.listener.close()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    count = 5 * MAX_PIPELINED
    async with connect(site.port) as client:
        await client.send(b"".join(GET % b"%d" % number for number in range(count)))
        answers = [await client.read() for _ in range(count)]

    assert [answer.body for answer in answers] == [b"/%d" % number for number in range(count)]


async def test_pipelined_requests_over_the_limit_are_not_read(site: Site) -> None:
    started, may_go = 0, asyncio.Event()

    async def wait(request: Request) -> HttpResponse:
        nonlocal started
        started += 1
        await may_go.wait()
        return await echo_path(request)

    site.answer = wait
    async with connect(site.port) as client:
        await client.send(b"".join(GET % b"%d" % number for number in range(3 * MAX_PIPELINED)))
        await until(lambda: started)
        [served] = site.listener.connections

        assert started == 1
        assert len(served._pending) <= MAX_PIPELINED
        may_go.set()
        for number in range(3 * MAX_PIPELINED):
            assert (await client.read()).body == b"/%d" % number


async def test_a_request_after_a_body_is_not_read_as_part_of_it(site: Site) -> None:
    post = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    async with connect(site.port) as client:
        await client.send(post + GET % b"b")
        answers = [await client.read(), await client.read()]

    assert [answer.body for answer in answers] == [b"/aabc", b"/b"]


async def test_a_client_that_closes_its_side_is_answered(site: Site) -> None:
    async with connect(site.port) as client:
        client.end()
        assert await client.wait_closed() == b""
    async with connect(site.port) as client:
        await client.send(GET % b"1" + GET % b"2")
        client.end()
        answers = [await client.read(), await client.read()]

        assert [answer.body for answer in answers] == [b"/1", b"/2"]
        assert await client.wait_closed() == b""


async def test_a_body_with_invalid_framing_fails_once(site: Site) -> None:
    started, failures = asyncio.Event(), []

    async def note(request: Request) -> HttpResponse:
        started.set()
        try:
            return await echo_path(request)
        except RequestPayloadError as error:
            failures.append(error)
            return HttpResponse(400)

    site.answer = note
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    async with connect(site.port) as client:
        await client.send(head)
        await started.wait()
        await client.send(b"zz\r\n")
        answer = await client.read()
        rest = await client.wait_closed()

    assert (answer.status, rest, len(failures)) == (400, b"", 1)


@pytest.mark.parametrize(
    ("version", "header", "expected"),
    [
        (b"1.1", b"", []),
        (b"1.1", b"Connection: close\r\n", ["close"]),
        (b"1.0", b"", ["close"]),
        (b"1.0", b"Connection: keep-alive\r\n", ["keep-alive"]),
    ],
)
async def test_keep_alive_follows_version_and_connection_header(
    site: Site, version: bytes, header: bytes, expected: list[str]
) -> None:
    async with connect(site.port) as client:
        await client.send(b"GET / HTTP/%s\r\nHost: x\r\n%s\r\n" % (version, header))
        answer = await client.read()

        assert answer.all("connection") == expected
        if expected == ["close"]:
            assert await client.wait_closed() == b""
        else:
            await client.send(GET % b"again")
            assert (await client.read()).body == b"/again"


@with_limits(idle_timeout_s=0.05)
async def test_a_connection_without_a_request_is_closed_after_the_idle_timeout(site: Site) -> None:

    async with connect(site.port) as silent, connect(site.port) as slow:
        await slow.send(b"GET / HTT")

        assert await silent.wait_closed() == b""
        assert await slow.wait_closed() == b""


@with_limits(idle_timeout_s=1)
async def test_the_idle_timeout_does_not_count_while_a_request_is_answered(site: Site) -> None:

    async def wait(request: Request) -> HttpResponse:
        # A connection that is opened now is closed after the idle timeout.
        async with connect(site.port) as silent:
            await silent.wait_closed()
        return await echo_path(request)

    site.answer = wait

    assert (await ask(site.port, GET % b"late")).body == b"/late"


@with_limits(write_timeout_s=0.05)
async def test_a_client_that_does_not_read_its_response_is_aborted_after_the_write_timeout(
    site: Site,
) -> None:

    async def much(_request: Request) -> HttpResponse:
        return HttpResponse(200, "", LARGE)

    site.answer = much
    async with connect(site.port) as client:
        await client.send(GET % b"")
        await until(lambda: site.listener.connections)
        await until(lambda: not site.listener.connections)


@pytest.mark.parametrize("head", [b"", b"Connection: close\r\n"])
@with_limits(write_timeout_s=1, write_progress_s=0.02)
async def test_a_client_that_reads_slowly_gets_the_whole_response(site: Site, head: bytes) -> None:

    async def much(_request: Request) -> HttpResponse:
        return HttpResponse(200, "", LARGE)

    site.answer = much
    async with connect(site.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
        await client.read_head()
        for _ in range(64):  # in more than the write timeout, with pauses far below it
            assert len(await client.read_some(len(LARGE) // 64)) == len(LARGE) // 64
            await asyncio.sleep(0.02)


async def test_a_response_larger_than_the_socket_buffer_arrives_whole(site: Site) -> None:
    async def much(_request: Request) -> HttpResponse:
        return HttpResponse(200, "", LARGE)

    site.answer = much

    assert len((await ask(site.port, GET % b"")).body) == len(LARGE)


async def test_the_rest_of_a_refused_body_is_discarded(site: Site) -> None:
    async def refuse(_request: Request) -> HttpResponse:
        return HttpResponse(413)

    site.answer = refuse
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n"
    async with connect(site.port) as client:
        await client.send(head + b"abc")
        assert (await client.read()).status == 413
        await client.send(b"def" + GET % b"next")
        assert (await client.read()).status == 413


@with_limits(linger_timeout_s=0.01)
async def test_a_refused_body_that_does_not_arrive_closes_the_connection(site: Site) -> None:
    async def refuse(_request: Request) -> HttpResponse:
        return HttpResponse(413)

    site.answer = refuse
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n"
    async with connect(site.port) as client:
        await client.send(head + b"abc")
        assert (await client.read()).status == 413
        assert await client.wait_closed() == b""


async def test_a_refused_body_that_awaits_100_continue_closes_the_connection(site: Site) -> None:
    async def refuse(_request: Request) -> HttpResponse:
        return HttpResponse(413)

    site.answer = refuse
    expects = b"Content-Length: 6\r\nExpect: 100-continue\r\n\r\n"
    async with connect(site.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + expects)
        answer = await client.read()

        assert (answer.status, answer.header("connection")) == (413, "close")
        assert await client.wait_closed() == b""


async def test_an_upgrade_to_websocket_is_answered_and_closes_the_connection(site: Site) -> None:
    upgrade = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with connect(site.port) as client:
        await client.send(upgrade + b"\x81\x85\x00\x00")

        assert (await client.read()).body == b"/ws"
        assert await client.wait_closed() == b""


async def test_bytes_after_an_unsupported_upgrade_are_not_parsed_as_a_request(
    site: Site,
) -> None:
    upgrade = b"GET /h2c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    inner = GET % b"body"
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(inner)
    async with connect(site.port) as client:
        await client.send(upgrade + head)
        answer = await client.read()
        await client.send(inner)

        assert (answer.body, answer.header("connection")) == (b"/h2c", "close")
        assert await client.wait_closed() == b""


async def test_a_body_with_an_unsupported_upgrade_is_read(site: Site) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 6\r\n\r\n"
    async with connect(site.port) as client:
        await client.send(b"POST /h2c HTTP/1.1\r\nHost: x\r\n" + upgrade + b"abc")
        await client.send(b"def")

        assert (await client.read()).body == b"/h2cabcdef"


async def test_closing_ends_idle_connections_and_waits_for_requests_in_flight(site: Site) -> None:
    started, may_go = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> HttpResponse:
        started.set()
        await may_go.wait()
        return await echo_path(request)

    site.answer = wait
    async with connect(site.port) as idle, connect(site.port) as busy:
        await busy.send(GET % b"first" + GET % b"last")
        await started.wait()
        closing = asyncio.create_task(site.listener.close())

        assert await idle.wait_closed() == b""
        assert not closing.done()
        may_go.set()
        first, last = await busy.read(), await busy.read()
        assert (first.body, first.all("connection")) == (b"/first", [])
        assert (last.body, last.header("connection")) == (b"/last", "close")
        assert await busy.wait_closed() == b""
        await closing


@with_limits(write_timeout_s=0.05)
async def test_a_closing_connection_is_aborted_when_its_client_does_not_read(site: Site) -> None:
    asked, answered = 0, 0

    async def answer(_request: Request) -> HttpResponse:
        nonlocal answered
        answered += 1
        return HttpResponse(200, "", bytes(40 << 10))

    def is_answered() -> bool:
        return answered == asked

    site.answer = answer
    async with connect(site.port) as client:
        await until(lambda: site.listener.connections)
        [served] = site.listener.connections
        assert served.transport is not None
        while not served.transport.get_write_buffer_size():
            asked += 1
            await client.send(GET % b"")
            await until(is_answered)

        served.finish(0)

        await until(lambda: not site.listener.connections)


async def test_closing_answers_requests_that_have_arrived(site: Site) -> None:
    async with connect(site.port) as client:
        await client.send(GET % b"first")
        await client.read()
        [served] = site.listener.connections

        served.data_received(GET % b"arrived")
        await site.listener.close()

        answer = await client.read()
        assert (answer.body, answer.header("connection")) == (b"/arrived", "close")
        assert await client.wait_closed() == b""


@with_limits(drain_timeout_s=0.01)
async def test_closing_aborts_requests_after_the_drain_timeout(site: Site) -> None:
    async def hang(_request: Request) -> HttpResponse:
        await asyncio.Event().wait()
        raise AssertionError

    site.answer = hang
    async with connect(site.port) as client:
        await client.send(GET % b"")
        await until(lambda: [served for served in site.listener.connections if served.serving])

        await site.listener.close()

        assert await client.wait_closed() == b""


async def test_a_handler_that_raises_closes_its_connection_and_is_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_request: Request) -> HttpResponse:
        raise ZeroDivisionError("internal")

    site.answer = fail
    async with connect(site.port) as client:
        await client.send(GET % b"")

        assert await client.wait_closed() == b""
    assert "ZeroDivisionError" in caplog.text


async def test_an_endless_request_head_is_refused(site: Site) -> None:
    async with connect(site.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"a" * 200_000)

        assert (await client.read()).status == 400
        assert await client.wait_closed() == b""
