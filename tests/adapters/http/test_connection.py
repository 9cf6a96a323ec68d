"""Connections on real sockets, without a platform behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

from adapters.http import connection
from adapters.http.answer import Answer
from adapters.http.connection import MAX_WAITING
from adapters.http.listener import Listener
from adapters.http.request import Request
from tests.adapters.http.raw import ask, connect

GET = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = bytes(16 << 20)


class Site:
    """A listener whose handler the test gives."""

    def __init__(self) -> None:
        self.listener = Listener(self._handle, self._refuse)
        self.answer: Callable[[Request], Awaitable[Answer]] = tell_path
        self.port = 0

    async def _handle(self, request: Request) -> Answer:
        return await self.answer(request)

    def _refuse(self, failure: HttpProcessingError) -> Answer:
        return Answer(400, "", failure.message.encode())


async def tell_path(request: Request) -> Answer:
    body = await request.content.read()
    return Answer(200, "", request.message.path.encode() + body)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    site.port = await site.listener.open("127.0.0.1", 0, shares_port=False)
    yield site
    await site.listener.close(5)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_requests_sent_at_once_are_answered_in_their_order(site: Site) -> None:
    count = 5 * MAX_WAITING
    async with connect(site.port) as client:
        await client.send(b"".join(GET % b"%d" % each for each in range(count)))
        answers = [await client.read() for _ in range(count)]

    assert [each.body for each in answers] == [b"/%d" % each for each in range(count)]


async def test_no_more_requests_are_taken_in_than_may_wait(site: Site) -> None:
    started, may_go = 0, asyncio.Event()

    async def wait(request: Request) -> Answer:
        nonlocal started
        started += 1
        await may_go.wait()
        return await tell_path(request)

    site.answer = wait
    async with connect(site.port) as client:
        await client.send(b"".join(GET % b"%d" % each for each in range(3 * MAX_WAITING)))
        await until(lambda: started)
        [served] = site.listener.connections

        assert started == 1
        assert len(served._arrived) <= MAX_WAITING
        may_go.set()
        for each in range(3 * MAX_WAITING):
            assert (await client.read()).body == b"/%d" % each


async def test_a_request_behind_a_body_is_not_taken_for_it(site: Site) -> None:
    post = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    async with connect(site.port) as client:
        await client.send(post + GET % b"b")
        answers = [await client.read(), await client.read()]

    assert [each.body for each in answers] == [b"/aabc", b"/b"]


async def test_a_client_that_has_said_all_is_answered(site: Site) -> None:
    async with connect(site.port) as client:
        client.end()
        assert await client.wait_closed() == b""
    async with connect(site.port) as client:
        await client.send(GET % b"1" + GET % b"2")
        client.end()
        answers = [await client.read(), await client.read()]

        assert [each.body for each in answers] == [b"/1", b"/2"]
        assert await client.wait_closed() == b""


async def test_a_body_that_breaks_off_is_told_once(site: Site) -> None:
    started, failures = asyncio.Event(), []

    async def note(request: Request) -> Answer:
        started.set()
        try:
            return await tell_path(request)
        except RequestPayloadError as error:
            failures.append(error)
            return Answer(400)

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
    ("version", "header", "said"),
    [
        (b"1.1", b"", []),
        (b"1.1", b"Connection: close\r\n", ["close"]),
        (b"1.0", b"", ["close"]),
        (b"1.0", b"Connection: keep-alive\r\n", ["keep-alive"]),
    ],
)
async def test_a_connection_is_kept_as_its_client_wants(
    site: Site, version: bytes, header: bytes, said: list[str]
) -> None:
    async with connect(site.port) as client:
        await client.send(b"GET / HTTP/%s\r\nHost: x\r\n%s\r\n" % (version, header))
        answer = await client.read()

        assert answer.all("connection") == said
        if said == ["close"]:
            assert await client.wait_closed() == b""
        else:
            await client.send(GET % b"again")
            assert (await client.read()).body == b"/again"


async def test_a_connection_without_a_request_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.05)

    async with connect(site.port) as silent, connect(site.port) as slow:
        await slow.send(b"GET / HTT")

        assert await silent.wait_closed() == b""
        assert await slow.wait_closed() == b""


async def test_an_answer_that_takes_long_is_no_idle_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.02)

    async def wait(request: Request) -> Answer:
        await asyncio.sleep(0.1)
        return await tell_path(request)

    site.answer = wait

    assert (await ask(site.port, GET % b"late")).body == b"/late"


async def test_a_client_that_takes_no_answer_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WRITE_S", 0.05)

    async def much(_request: Request) -> Answer:
        return Answer(200, "", LARGE)

    site.answer = much
    async with connect(site.port) as client:
        await client.send(GET % b"")
        await until(lambda: site.listener.connections)
        await until(lambda: not site.listener.connections)


@pytest.mark.parametrize("head", [b"", b"Connection: close\r\n"])
async def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(connection, "WRITE_S", 0.2)
    monkeypatch.setattr(connection, "TOUCH_S", 0.02)

    async def much(_request: Request) -> Answer:
        return Answer(200, "", LARGE)

    site.answer = much
    async with connect(site.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
        await client.read_head()
        for _ in range(16):
            assert len(await client.read_some(len(LARGE) // 16)) == len(LARGE) // 16
            await asyncio.sleep(0.05)


async def test_an_answer_larger_than_the_sockets_buffer_arrives_whole(site: Site) -> None:
    async def much(_request: Request) -> Answer:
        return Answer(200, "", LARGE)

    site.answer = much

    assert len((await ask(site.port, GET % b"")).body) == len(LARGE)


async def test_what_is_left_of_a_refused_body_is_read_for_a_while(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_request: Request) -> Answer:
        return Answer(413)

    site.answer = refuse
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n"
    async with connect(site.port) as client:
        await client.send(head + b"abc")
        assert (await client.read()).status == 413
        await client.send(b"def" + GET % b"next")
        assert (await client.read()).status == 413

    monkeypatch.setattr(connection, "LINGER_S", 0.01)
    async with connect(site.port) as client:
        await client.send(head + b"abc")
        assert (await client.read()).status == 413
        assert await client.wait_closed() == b""


async def test_a_body_that_was_not_asked_for_is_not_waited_for(site: Site) -> None:
    async def refuse(_request: Request) -> Answer:
        return Answer(413)

    site.answer = refuse
    expects = b"Content-Length: 6\r\nExpect: 100-continue\r\n\r\n"
    async with connect(site.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + expects)
        answer = await client.read()

        assert (answer.status, answer.header("connection")) == (413, "close")
        assert await client.wait_closed() == b""


async def test_a_protocol_that_is_not_served_ends_the_connection(site: Site) -> None:
    upgrade = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with connect(site.port) as client:
        await client.send(upgrade + b"\x81\x85\x00\x00")

        assert (await client.read()).body == b"/ws"
        assert await client.wait_closed() == b""


async def test_what_follows_an_upgrade_that_is_not_served_is_never_taken_for_a_request(
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


async def test_a_body_with_an_upgrade_that_is_not_served_is_read(site: Site) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 6\r\n\r\n"
    async with connect(site.port) as client:
        await client.send(b"POST /h2c HTTP/1.1\r\nHost: x\r\n" + upgrade + b"abc")
        await client.send(b"def")

        assert (await client.read()).body == b"/h2cabcdef"


async def test_closing_ends_what_is_idle_and_waits_for_what_is_not(site: Site) -> None:
    started, may_go = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> Answer:
        started.set()
        await may_go.wait()
        return await tell_path(request)

    site.answer = wait
    async with connect(site.port) as idle, connect(site.port) as busy:
        await busy.send(GET % b"last" + GET % b"too-late")
        await started.wait()
        closing = asyncio.create_task(site.listener.close(5))

        assert await idle.wait_closed() == b""
        assert not closing.done()
        may_go.set()
        answer = await busy.read()
        assert (answer.body, answer.header("connection")) == (b"/last", "close")
        assert await busy.wait_closed() == b""
        await closing


async def test_a_connection_that_ends_is_not_kept_by_what_its_client_does_not_take(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = 0, 0

    async def answer(_request: Request) -> Answer:
        nonlocal answered
        answered += 1
        return Answer(200, "", bytes(40 << 10))

    def is_answered() -> bool:
        return answered == asked

    site.answer = answer
    monkeypatch.setattr(connection, "WRITE_S", 0.05)
    async with connect(site.port) as client:
        await until(lambda: site.listener.connections)
        [served] = site.listener.connections
        assert served.transport is not None
        while not served.transport.get_write_buffer_size():
            asked += 1
            await client.send(GET % b"")
            await until(is_answered)

        served.finish()

        await until(lambda: not site.listener.connections)


async def test_closing_answers_what_has_arrived(site: Site) -> None:
    async with connect(site.port) as client:
        await client.send(GET % b"first")
        await client.read()
        [served] = site.listener.connections

        served.data_received(GET % b"arrived")
        await site.listener.close(5)

        answer = await client.read()
        assert (answer.body, answer.header("connection")) == (b"/arrived", "close")
        assert await client.wait_closed() == b""


async def test_closing_cuts_off_what_takes_too_long(site: Site) -> None:
    async def hang(_request: Request) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    site.answer = hang
    async with connect(site.port) as client:
        await client.send(GET % b"")
        await until(lambda: [each for each in site.listener.connections if each.serving])

        await site.listener.close(0.01)

        assert await client.wait_closed() == b""


async def test_a_handler_that_fails_ends_its_connection_and_is_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_request: Request) -> Answer:
        raise ZeroDivisionError("internal")

    site.answer = fail
    async with connect(site.port) as client:
        await client.send(GET % b"")

        assert await client.wait_closed() == b""
    assert "ZeroDivisionError" in caplog.text


async def test_a_head_that_never_ends_takes_no_memory(site: Site) -> None:
    async with connect(site.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"a" * 200_000)

        assert (await client.read()).status == 400
        assert await client.wait_closed() == b""
