"""The HTTP adapter on real sockets, down to the bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from adapters.http import bodies
from adapters.http.server import READY_PATH, HttpAdapter
from broker.broker import Broker
from broker.bus import Bus
from broker.receiver import Reply, receive
from fox import Context, Kit, Response
from model import subjects
from model.codec import Body
from model.component import short
from model.event import Event
from tests.adapters.http.raw import Answer, ask, connect
from tests.support.data_plane import APP, SETTINGS, DataPlane, digest, open_data_plane
from tests.support.garbage import leaves_no_frame_of
from tests.support.nats import NatsServer

LIMIT_BYTES = 100_000
HERE = "kf-dep=v1&kf-ve=team-a"


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[DataPlane]:
    settings = msgspec.structs.replace(
        SETTINGS, body_limit_bytes=LIMIT_BYTES, body_memory_bytes=LIMIT_BYTES
    )
    async with open_data_plane(own_nats_server.url, settings) as plane:
        await plane.virtual_environment("team-a")
        yield plane


@pytest.fixture
async def adapter(plane: DataPlane) -> AsyncIterator[HttpAdapter]:
    async with HttpAdapter(plane.broker, plane.broker.settings) as adapter:
        yield adapter


@pytest.fixture
async def echo(plane: DataPlane, adapter: HttpAdapter) -> int:
    """The port, with a released component behind it that tells what it was sent."""
    kit = Kit()

    @kit.route("All()")
    async def tell(ctx: Context) -> Any:
        event = ctx.event
        if ctx.path == "/fail":
            raise ValueError(ctx.path)
        if ctx.path == "/empty":
            return Response(status=int(ctx.query["status"]), headers={"x": "y"})
        return {
            "method": event.method,
            "path": event.path,
            "query": event.query,
            "headers": [list(pair) for pair in event.headers],
            "body": ctx.body.decode("latin-1"),
        }

    await plane.deploy("v1", {"web": kit})
    await plane.start("web", kit)
    await plane.release("team-a", "v1")
    return adapter.port


async def answer_with(plane: DataPlane, reply: Callable[[Event], Reply]) -> None:
    """Deploy a component that answers what no kit would, and release it."""
    kit = Kit()
    kit.route("All()")(kit.default)  # type: ignore[arg-type]
    await plane.deploy("v1", {"web": kit})
    await plane.release("team-a", "v1")

    async def handle(event: Event, _body: Body) -> Reply:
        return reply(event)

    serving = receive(
        plane.broker.bus,
        subjects.component(APP, "web", digest("v1")),
        subjects.PODS_QUEUE,
        handle,
        source="web@1",
    )
    await plane.enter(serving)


def problem(answer: Answer) -> tuple[int, object]:
    """Return status and code of a failure, which must look as all failures do."""
    content = answer.json()
    assert answer.header("content-type") == "application/problem+json"
    assert content["status"] == answer.status
    assert content["event_id"] == answer.header("kubefox-event-id")
    assert content["detail"]
    return answer.status, content["code"]


async def test_a_request_travels_as_it_came(echo: int) -> None:
    answer = await ask(
        echo,
        b"POST /a%2Fb//c%20d?x=%C3%A4&y=1+2&y HTTP/1.1\r\n"
        b"Host: shop.example:80\r\n"
        b"X-One: 1\r\nx-two: 2\r\nX-ONE: 3\r\nX-Text: \xc3\xa4\r\nX-Bytes: \xff\xfe\r\n"
        b"Content-Length: 4\r\n\r\nbody",
    )

    assert answer.status == 200
    assert answer.json() == {
        "method": "POST",
        "path": "/a%2Fb//c%20d",
        "query": "x=%C3%A4&y=1+2&y",
        "headers": [
            ["host", "shop.example:80"],
            ["x-one", "1"],
            ["x-two", "2"],
            ["x-one", "3"],
            ["x-text", "ä"],
            ["x-bytes", "ÿþ"],
            ["content-length", "4"],
        ],
        "body": "body",
    }


async def test_selectors_are_taken_out_and_the_rest_keeps_its_order(echo: int) -> None:
    answer = await ask(
        echo,
        b"GET /?a=%31&kf-dep=v1&b&kf-ve=team-a&c=3 HTTP/1.1\r\nHost: x\r\n"
        b"Kf-Sample: 1\r\nCookie: a=1; kf-ve=team-a; b=2\r\nKf-Type: cron\r\n\r\n",
    )

    content = answer.json()
    assert content["query"] == "a=%31&b&c=3"
    assert content["headers"] == [["host", "x"], ["cookie", "a=1; b=2"]]


async def test_what_speaks_of_the_connection_stays_on_it(echo: int) -> None:
    answer = await ask(
        echo,
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"
        b"Keep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Authorization: secret\r\n"
        b"Proxy-Connection: close\r\nX-End: 1\r\n\r\n",
    )

    assert answer.json()["headers"] == [["host", "x"], ["x-end", "1"]]


async def test_a_selector_counts_though_it_is_said_to_be_of_the_connection(echo: int) -> None:
    answer = await ask(
        echo,
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: kf-dep, kf-ve\r\n"
        b"Kf-Dep: unknown\r\nKf-Ve: team-a\r\n\r\n",
    )

    assert (answer.status, answer.json()["code"]) == (404, "deployment_not_found")


async def test_a_body_keeps_its_encoding(echo: int) -> None:
    answer = await ask(
        echo,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
        b"Content-Length: 3\r\n\r\n\x1f\x8b!",
    )

    assert answer.json()["body"] == "\x1f\x8b!"
    assert ["content-encoding", "gzip"] in answer.json()["headers"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"/?", "/", ""),
        (b"/%ff%2F", "/%ff%2F", ""),
        (b"/a#b?c", "/a", ""),
        (b"/a?b#c", "/a", "b"),
        (b"http://shop.example/a?b", "/a", "b"),
        (b"http://shop.example", "/", ""),
        (b"//double", "//double", ""),
    ],
)
async def test_every_form_of_a_target_is_understood(
    echo: int, target: bytes, path: str, query: str
) -> None:
    answer = await ask(echo, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (answer.json()["path"], answer.json()["query"]) == (path, query)


async def test_a_chunked_body_is_put_together(echo: int) -> None:
    answer = await ask(
        echo,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n",
    )

    assert answer.json()["body"] == "abcde"


async def test_a_client_that_waits_to_be_invited_is(echo: int) -> None:
    async with connect(echo) as connection:
        await connection.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        invitation = await connection.read_head()
        await connection.send(b"abc")
        answer = await connection.read()

    assert (invitation.status, answer.status) == (100, 200)
    assert answer.json()["body"] == "abc"
    assert answer.json()["headers"] == [["host", "x"], ["content-length", "3"]]


async def test_a_connection_serves_many_requests_in_turn(echo: int) -> None:
    async with connect(echo) as connection:
        for each in range(3):
            await connection.send(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % each)
        answers = [await connection.read() for _ in range(3)]

    assert [each.json()["path"] for each in answers] == ["/0", "/1", "/2"]
    assert len({each.header("kubefox-event-id") for each in answers}) == 3


async def test_head_has_the_headers_of_get_and_no_body(echo: int) -> None:
    async with connect(echo) as connection:
        await connection.send(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await connection.read(has_body=False)
        await connection.send(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        after = await connection.read()

    assert head.status == 200
    assert int(head.header("content-length")) > 0
    assert after.json()["path"] == "/b"


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_none(echo: int, status: int) -> None:
    async with connect(echo) as connection:
        await connection.send(b"GET /empty?status=%d HTTP/1.1\r\nHost: x\r\n\r\n" % status)
        empty = await connection.read()
        await connection.send(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        after = await connection.read()

    assert (empty.status, empty.header("x")) == (status, "y")
    assert empty.all("transfer-encoding") == []
    assert after.json()["path"] == "/b"


async def test_an_answer_keeps_duplicates_and_loses_its_framing(
    plane: DataPlane, adapter: HttpAdapter
) -> None:
    headers = (
        ("set-cookie", "a=1"),
        ("x-text", "ä"),
        ("set-cookie", "b=2"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("content-length", "999"),
        ("kubefox-event-id", "forged"),
    )
    await answer_with(plane, lambda _: Reply(202, headers, b"whole"))

    answer = await ask(adapter.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (answer.status, answer.body) == (202, b"whole")
    assert answer.all("set-cookie") == ["a=1", "b=2"]
    assert answer.header("x-text").encode("latin-1").decode() == "ä"
    assert answer.all("connection") == answer.all("transfer-encoding") == []
    assert answer.header("content-length") == "5"
    assert answer.header("kubefox-event-id") != "forged"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, (("x", "a\r\nset-cookie: b=1"),)),
        Reply(200, (("x", "a\nb"),)),
        Reply(200, (("x", "\0"),)),
        Reply(200, (("x y", "a"),)),
        Reply(200, (("", "a"),)),
        Reply(200, (("ä", "a"),)),
        Reply(0),
        Reply(99),
        Reply(101),
        Reply(999),
        Reply(-1),
    ],
)
async def test_what_http_cannot_say_is_a_failure_of_the_component(
    plane: DataPlane, adapter: HttpAdapter, reply: Reply
) -> None:
    answers = [reply, Reply(200, (), b"fine")]
    await answer_with(plane, lambda _: answers.pop(0))

    async with connect(adapter.port) as connection:
        await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        failed = await connection.read()
        await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        after = await connection.read()

    assert problem(failed) == (500, "component_failed")
    assert failed.all("set-cookie") == []
    assert after.body == b"fine"


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


async def test_a_body_that_does_not_come_in_time_is_given_up(
    echo: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "READ_S", 0.01)

    answer = await ask(echo, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")

    assert problem(answer) == (408, "body_too_slow")


async def test_bodies_that_fill_the_memory_for_them_keep_others_out_until_they_are_done(
    echo: int,
) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    half = b"a" * (LIMIT_BYTES // 2)
    async with connect(echo) as first:
        await first.send(head % LIMIT_BYTES + half)
        async with connect(echo) as second:
            await second.send(head % LIMIT_BYTES + half)
            # Bytes are counted as they are read, so until both are, another finds room.
            while (refused := await ask(echo, head % len(half) + half)).status == 200:
                pass

        await first.send(half)
        taken = await first.read()

    assert problem(refused) == (503, "overloaded")
    assert taken.status == 200
    while (await ask(echo, head % LIMIT_BYTES + half + half)).status != 200:
        pass  # until it is seen that the second has left


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /?kf-ve=none HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /fail HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n\r\n",
    ],
)
async def test_a_request_that_fails_leaves_nothing_behind(echo: int, request_: bytes) -> None:
    with leaves_no_frame_of("adapters/http"):
        assert (await ask(echo, request_)).status >= 400
        await ask(echo, b"GET /after HTTP/1.1\r\nHost: x\r\n\r\n")


async def test_a_client_that_leaves_in_mid_body_leaves_nothing_behind(
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


async def test_a_body_of_the_limit_is_taken(echo: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LIMIT_BYTES

    answer = await ask(echo, head + b"a" * LIMIT_BYTES)

    assert answer.json()["body"] == "a" * LIMIT_BYTES


@pytest.mark.parametrize(
    "headers",
    [
        b"X: " + b"a" * 70_000 + b"\r\n",
        b"a" * 70_000 + b": x\r\n",
        b"".join(b"X%d: %s\r\n" % (each, b"a" * 1000) for each in range(80)),
        b"".join(b"X%d: a\r\n" % each for each in range(5000)),
    ],
)
async def test_headers_over_the_limit_are_refused(echo: int, headers: bytes) -> None:
    answer = await ask(echo, b"GET / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")

    assert problem(answer) == (431, "headers_too_large")


async def test_a_target_over_the_limit_is_refused(echo: int) -> None:
    answer = await ask(echo, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")

    assert problem(answer) == (431, "headers_too_large")


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_without_a_traceback(
    echo: int, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await ask(echo, data)

    assert problem(answer) == (400, "invalid_request")
    assert "Traceback" not in caplog.text


async def test_a_client_that_leaves_in_mid_body_harms_nobody(
    echo: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(echo) as connection:
        await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")

    answer = await ask(echo, b"GET /after HTTP/1.1\r\nHost: x\r\n\r\n")

    assert answer.json()["path"] == "/after"
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/?kf-dep=v1", 400, "invalid_selector"),
        ("/?kf-dep=v1&kf-dep=v2", 400, "invalid_selector"),
        ("/?kf-dep=none&kf-ve=team-a", 404, "deployment_not_found"),
        ("/?kf-dep=v1&kf-ve=none", 404, "environment_not_found"),
        ("/?kf-ve=team-a", 404, "release_not_found"),
        ("/", 404, "route_not_found"),
        (f"/x?{HERE}", 503, "no_pod_ready"),
        (f"/y?{HERE}", 404, "route_not_found"),
    ],
)
async def test_a_failure_is_told_as_a_problem(
    plane: DataPlane, adapter: HttpAdapter, target: str, status: int, code: str
) -> None:
    kit = Kit()
    kit.route("Path(`/x`)")(kit.default)  # type: ignore[arg-type]
    await plane.deploy("v1", {"web": kit})

    answer = await ask(adapter.port, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert problem(answer) == (status, code)
    assert answer.all("retry-after") == (["1"] if status == 503 else [])
    known = [answer.all(f"kubefox-{name}") for name in ("app-deployment", "virtual-environment")]
    assert known == ([["v1"], ["team-a"]] if HERE in target else [[], []])


async def test_headers_tell_who_served(plane: DataPlane, adapter: HttpAdapter, echo: int) -> None:
    released = await ask(echo, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    explicit = await ask(echo, f"GET /?{HERE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    for answer in (released, explicit):
        assert answer.header("kubefox-app-deployment") == "v1"
        assert answer.header("kubefox-virtual-environment") == "team-a"
        assert answer.header("kubefox-event-id").startswith("broker-")
    assert released.header("kubefox-release") == "release-of-v1"
    assert explicit.all("kubefox-release") == []


async def test_a_trace_that_the_client_began_is_named_in_the_answer(echo: int) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    header = f"Traceparent: 00-{trace}-b7ad6b7169203331-01"

    answer = await ask(echo, f"GET / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())

    assert answer.header("kubefox-trace-id") == trace


@pytest.mark.parametrize(
    ("accept", "is_text"),
    [
        ("text/plain", True),
        ("text/plain, application/json;q=0.5", True),
        ("text/plain;q=0.9, */*;q=0.8", True),
        ("text/html, */*;q=0.1", False),
        ("*/*", False),
        ("text/plain;q=0.5, application/problem+json", False),
        ("text/plain;q=many", False),
        (";;,q=,", False),
        ("", False),
    ],
)
async def test_a_failure_is_plain_text_for_who_prefers_it(
    adapter: HttpAdapter,
    accept: str,
    is_text: bool,
) -> None:
    request = f"GET /?kf-ve=none HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"

    answer = await ask(adapter.port, request.encode())

    assert answer.status == 404
    if is_text:
        event_id = answer.header("kubefox-event-id")
        assert answer.header("content-type") == "text/plain; charset=utf-8"
        assert answer.body.decode().startswith("404 environment_not_found: ")
        assert answer.body.decode().endswith(f"\nevent {event_id}\n")
    else:
        assert problem(answer) == (404, "environment_not_found")


async def test_a_request_that_cannot_be_read_fails_in_plain_text_too(adapter: HttpAdapter) -> None:
    request = b"GET /?kf-dep= HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n"

    answer = await ask(adapter.port, request)

    assert answer.status == 400
    assert answer.body.startswith(b"400 invalid_selector: ")


async def test_a_handler_that_fails_tells_nothing_of_why(
    plane: DataPlane, adapter: HttpAdapter
) -> None:
    kit = Kit()

    @kit.route("All()")
    async def fail(ctx: Context) -> None:
        raise ValueError("internal")

    await plane.deploy("v1", {"web": kit})
    await plane.start("web", kit)
    await plane.release("team-a", "v1")

    answer = await ask(adapter.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert problem(answer) == (500, "component_failed")
    assert answer.json()["hop"] == f"web@{short(digest('v1'))}"
    assert b"internal" not in answer.body


async def test_a_failure_of_the_platform_itself_is_logged_and_not_told(
    plane: DataPlane,
    adapter: HttpAdapter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("internal")

    monkeypatch.setattr(Broker, "resolve", fail)

    answer = await ask(adapter.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert problem(answer) == (500, "internal_error")
    assert b"internal" not in answer.body.replace(b"internal_error", b"")
    assert f"event {answer.header('kubefox-event-id')} failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_an_event_that_nobody_answers_in_time_is_504(
    own_nats_server: NatsServer,
) -> None:
    settings = msgspec.structs.replace(SETTINGS, event_ttl_s=0.05)
    async with (
        open_data_plane(own_nats_server.url, settings) as plane,
        HttpAdapter(plane.broker, settings) as adapter,
    ):
        await plane.virtual_environment("team-a")
        await plane.deploy("v1", {"web": await silent(plane.broker.bus)})

        answer = await ask(adapter.port, f"GET /?{HERE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert problem(answer) == (504, "deadline_exceeded")
    assert str(answer.json()["hop"]).startswith("web@")


async def silent(bus: Bus) -> Kit:
    """Return a kit whose events somebody takes and never answers."""

    async def keep(_payload: bytes, _reply: str) -> None: ...

    await bus.serve(subjects.component(APP, "web", digest("v1")), keep)
    kit = Kit()
    kit.route("All()")(kit.default)  # type: ignore[arg-type]
    return kit


async def test_leaving_finishes_what_is_in_flight_and_takes_nothing_new(
    plane: DataPlane,
) -> None:
    kit = Kit()
    started, released = asyncio.Event(), asyncio.Event()

    @kit.route("All()")
    async def wait(ctx: Context) -> str:
        started.set()
        await released.wait()
        return "done"

    await plane.deploy("v1", {"web": kit})
    await plane.start("web", kit)
    await plane.release("team-a", "v1")
    adapter = HttpAdapter(plane.broker, plane.broker.settings)
    await adapter.__aenter__()
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    in_flight = asyncio.create_task(ask(adapter.port, request))
    await started.wait()

    leaving = asyncio.create_task(adapter.__aexit__(None, None, None))
    while True:
        try:
            async with connect(adapter.port):
                await asyncio.sleep(0)
        except ConnectionError:
            break

    assert not adapter.is_ready
    assert not leaving.done()
    released.set()
    assert (await in_flight).body == b"done"
    await leaving


async def test_readiness_is_told_and_is_no_event(plane: DataPlane, adapter: HttpAdapter) -> None:
    request = f"GET {READY_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    ready = await ask(adapter.port, request)
    plane.broker.drain()
    draining = await ask(adapter.port, request)
    refused = await ask(adapter.port, b"GET /?kf-ve=none HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (ready.status, ready.body) == (200, b"ready\n")
    assert (draining.status, draining.body) == (503, b"not ready\n")
    assert ready.all("kubefox-event-id") == []
    assert refused.status == 404


async def test_a_port_in_use_is_an_error(plane: DataPlane, adapter: HttpAdapter) -> None:
    settings = msgspec.structs.replace(SETTINGS, http_port=adapter.port)

    with pytest.raises(OSError, match="in use"):
        await HttpAdapter(plane.broker, settings).__aenter__()


async def test_the_address_is_known(adapter: HttpAdapter) -> None:
    assert adapter.url == f"http://127.0.0.1:{adapter.port}"


async def test_every_answer_names_its_trace(echo: int) -> None:
    paths = ("/", "/?kf-sample=true", "/?kf-sample=perhaps", "/?kf-dep=v9&kf-ve=team-a")

    answers = [
        await ask(echo, f"GET {each} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) for each in paths
    ]
    strange = await ask(echo, b"what is this\r\n\r\n")

    ids = {each.header("kubefox-trace-id") for each in (*answers, strange)}
    assert len(ids) == 5
    assert {len(each) for each in ids} == {32}


async def test_a_trace_goes_on_in_the_component(
    plane: DataPlane, adapter: HttpAdapter, echo: int
) -> None:
    seen: list[str] = []
    kit = Kit()

    @kit.route("All()")
    async def look(ctx: Context) -> str:
        seen.append(ctx.event.traceparent)
        return ""

    await plane.deploy("v2", {"web": kit}, "v2")
    await plane.start("web", kit, "v2")
    await plane.release("team-a", "v2")
    trace = "0af7651916cd43dd8448eb211c80319c"
    header = f"Traceparent: 00-{trace}-b7ad6b7169203331-01"

    await ask(echo, f"GET / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
    await ask(echo, b"GET /?kf-sample=1 HTTP/1.1\r\nHost: x\r\n\r\n")

    goes_on, asked_for = seen
    assert goes_on.startswith(f"00-{trace}-")
    assert "b7ad6b7169203331" not in goes_on
    assert (goes_on[-3:], asked_for[-3:]) == ("-01", "-01")
