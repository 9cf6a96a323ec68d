"""Responses of components, and the bytes that clients get for them."""

from __future__ import annotations

import pytest

from adapters.http.server import HttpAdapter
from broker.dispatch.handling import Reply
from fox import Context, Kit
from tests.adapters.http.echo import HERE, answer_with, problem
from tests.adapters.http.limits import DEFAULTS
from tests.adapters.http.raw import ask, connect
from tests.support.data_plane import DataPlane


async def test_head_has_the_headers_of_get_and_no_body(echo: int) -> None:
    async with connect(echo) as connection:
        await connection.send(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await connection.read(has_body=False)
        await connection.send(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        after = await connection.read()

    assert head.status == 200
    assert int(head.header("content-length")) > 0
    assert after.json()["path"] == "/b"


async def test_head_without_a_body_has_no_content_length(echo: int) -> None:
    async with connect(echo) as connection:
        await connection.send(b"HEAD /empty?status=200 HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await connection.read(has_body=False)
        await connection.send(b"GET /empty?status=205 HTTP/1.1\r\nHost: x\r\n\r\n")
        reset = await connection.read()

    assert head.all("content-length") == []
    assert (reset.status, reset.header("content-length")) == (205, "0")


@pytest.mark.parametrize("status", [204, 304])
async def test_204_and_304_have_no_body(echo: int, status: int) -> None:
    async with connect(echo) as connection:
        await connection.send(b"GET /empty?status=%d HTTP/1.1\r\nHost: x\r\n\r\n" % status)
        empty = await connection.read()
        await connection.send(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        after = await connection.read()

    assert (empty.status, empty.header("x")) == (status, "y")
    assert empty.all("transfer-encoding") == []
    assert after.json()["path"] == "/b"


async def test_a_response_keeps_duplicate_headers_and_gets_new_framing(
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
        Reply(200, (("x", "a" * DEFAULTS.max_headers_bytes),)),
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
async def test_a_response_that_http_cannot_carry_is_component_failed(
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


async def test_response_headers_name_deployment_environment_and_release(
    plane: DataPlane, adapter: HttpAdapter, echo: int
) -> None:
    released = await ask(echo, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    explicit = await ask(echo, f"GET /?{HERE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    for answer in (released, explicit):
        assert answer.header("kubefox-app-deployment") == "v1"
        assert answer.header("kubefox-virtual-environment") == "team-a"
        assert answer.header("kubefox-event-id") == answer.header("kubefox-trace-id")
    assert released.header("kubefox-release") == "release-of-v1"
    assert explicit.all("kubefox-release") == []


async def test_the_response_names_the_clients_trace(echo: int) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    header = f"Traceparent: 00-{trace}-b7ad6b7169203331-01"

    answer = await ask(echo, f"GET / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())

    assert answer.header("kubefox-trace-id") == trace


async def test_every_response_has_a_trace_id(echo: int) -> None:
    paths = ("/", "/?kf-sample=true", "/?kf-sample=perhaps", "/?kf-dep=v9&kf-ve=team-a")

    answers = [
        await ask(echo, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) for path in paths
    ]
    strange = await ask(echo, b"what is this\r\n\r\n")

    ids = {answer.header("kubefox-trace-id") for answer in (*answers, strange)}
    assert len(ids) == 5
    assert {len(trace_id) for trace_id in ids} == {32}


async def test_the_component_continues_the_trace(
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
