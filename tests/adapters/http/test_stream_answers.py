"""Answers of any length on real sockets, and events, as they are made."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from adapters.http import codec
from fox import Context, Kit, Response
from model.errors import ComponentFailed
from model.event import Response as ResponseHead
from tests.adapters.http.raw import ask, connect
from tests.adapters.http.streaming import GET, MIB, SOON_S, World, endless, open_world, url
from tests.support.nats import NatsServer


@pytest.mark.parametrize("path", ["/bytes/3000000", "/bytes/0", "/whole/3000000", "/whole/524289"])
async def test_an_answer_of_any_length_arrives_whole_and_the_connection_goes_on(
    world: World, path: str
) -> None:
    async with aiohttp.ClientSession() as client:
        for _ in range(2):
            async with client.get(url(world, path)) as answer:
                body = await answer.read()
            assert (answer.status, len(body)) == (200, int(path.rpartition("/")[2]))
            length = answer.headers.get("content-length", "")
            assert length == (str(len(body)) if path.startswith("/whole") else "")
            assert answer.headers["kubefox-app-deployment"] == "v1"


async def test_a_length_that_the_component_says_is_passed_on(world: World) -> None:
    answer = await ask(world.port, GET % b"/bytes/700000?say=700000")

    assert answer.header("content-length") == "700000"
    assert answer.all("transfer-encoding") == []
    assert len(answer.body) == 700000


@pytest.mark.parametrize("said", [b"699999", b"700001"])
async def test_an_answer_of_another_length_than_was_said_is_cut(
    world: World, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(world.port) as connection:
        await connection.send(GET % (b"/bytes/700000?say=" + said))
        head = await connection.read_head()
        body = await connection.wait_closed()

    assert len(body) != int(said)
    assert f"the answer to event {head.header('kubefox-event-id')} was cut" in caplog.text


async def test_for_http_1_0_an_answer_ends_with_its_connection(world: World) -> None:
    async with connect(world.port) as connection:
        await connection.send(b"GET /bytes/700000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head = await connection.read_head()
        body = await connection.wait_closed()

    assert head.header("connection") == "close"
    assert head.all("transfer-encoding") == head.all("content-length") == []
    assert len(body) == 700000


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"HEAD /endless HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (GET % b"/bytes/5000000?status=204", 204),
        (GET % b"/bytes/5000000?status=205", 205),
        (GET % b"/bytes/5000000?status=304", 304),
    ],
)
async def test_an_answer_that_has_no_body_cancels_its_stream(
    world: World, request_: bytes, status: int
) -> None:
    async with connect(world.port) as connection:
        await connection.send(request_)
        head = await connection.read_head()
        await connection.send(GET % b"/size")
        after = await connection.read()

    assert (head.status, head.all("transfer-encoding")) == (status, [])
    assert after.body == b"0"


async def test_events_arrive_while_later_ones_are_not_made_yet(world: World) -> None:
    async with aiohttp.ClientSession() as client, client.get(url(world, "/events")) as answer:
        first = await answer.content.readuntil(b"\n\n")
        world.signs.go_on.set()
        second = await answer.content.readuntil(b"\n\n")
        rest = await answer.content.read()

    assert answer.headers["content-type"] == "text/event-stream"
    assert first == b'data: {"first":1}\n\n'
    assert second == b"event: second\nid: 2\ndata: a\ndata: b\n\n"
    assert rest == b""


@pytest.mark.parametrize(
    ("request_", "is_reset"),
    [(GET % b"/fail", False), (b"GET /fail HTTP/1.0\r\n\r\n", True)],
)
async def test_a_handler_that_fails_in_mid_answer_cuts_it(
    world: World, request_: bytes, is_reset: bool, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(request_)
    try:
        received = await reader.read()
        assert not is_reset
    except ConnectionResetError:
        received = b""
        assert is_reset
    writer.close()

    assert b"\r\n0\r\n\r\n" not in received
    assert b"internal" not in received
    assert "ValueError: internal" in caplog.text
    assert "was cut" in caplog.text


async def test_a_slow_reader_holds_up_only_its_own_stream(world: World) -> None:
    async with connect(world.port) as slow:
        await slow.send(GET % b"/bytes/64000000")
        await slow.read_head()
        answers = [await ask(world.port, GET % b"/size") for _ in range(20)]
        pod = world.streams[2]
        [sending] = pod._halves.values()

        # Window, sockets' buffers and the chunk in hand: far below the whole.
        assert sending._core._spent < 12 * MIB

    assert {each.body for each in answers} == {b"0"}


async def test_events_outlast_the_time_to_live_by_their_keep_alives(
    own_nats_server: NatsServer,
) -> None:
    async with open_world(own_nats_server.url, stream_idle_s=0.2, event_ttl_s=0.5) as world:
        async with aiohttp.ClientSession() as client, client.get(url(world, "/events")) as answer:
            for _ in range(12):
                while await answer.content.readuntil(b"\n\n") != b": keep-alive\n\n":
                    pass
            world.signs.go_on.set()
            assert (await answer.content.read()).endswith(b"data: b\n\n")
        await world.wait_idle()


@pytest.mark.parametrize("lengths", [("a",), ("-1",), ("1", "2"), ("\u0661",)])
def test_a_length_that_is_none_is_a_failure_of_the_component(lengths: tuple[str, ...]) -> None:
    headers = tuple(("content-length", each) for each in lengths)

    with pytest.raises(ComponentFailed):
        codec.length_of(ResponseHead(status=200, headers=headers, source="web@1"))


async def test_an_answer_that_comes_too_late_to_be_read_is_not_made(
    own_nats_server: NatsServer,
) -> None:
    async with open_world(own_nats_server.url, event_ttl_s=0.2) as world:
        late = asyncio.Event()
        kit = Kit()

        @kit.route("All()")
        async def answer(ctx: Context) -> Response:
            try:
                await late.wait()
            except asyncio.CancelledError:
                await late.wait()
            return endless(world.signs)

        await world.plane.deploy("v2", {"late": kit}, "late")
        pod, receiver = await world.plane.start("late", kit, "late")
        refused = await ask(world.port, GET % b"/?kf-dep=v2&kf-ve=team-a")
        late.set()
        async with asyncio.timeout(SOON_S):
            while receiver.in_flight or len(pod.streams):
                await asyncio.sleep(0)

    assert refused.status == 504
    assert not world.signs.ended.is_set()
