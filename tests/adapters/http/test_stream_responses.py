"""Streamed responses and server-sent events on real sockets."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from adapters.http import codec
from broker.streams import outgoing
from fox import Context, Kit, Response
from kubefox.errors import ComponentFailed
from kubefox.event import ResponseHead
from tests.adapters.http.raw import ask, connect
from tests.adapters.http.streaming import (
    GET,
    MIB,
    SOON_S,
    StreamingWorld,
    endless,
    open_streaming_world,
)
from tests.support.nats import NatsServer


@pytest.mark.parametrize("path", ["/bytes/3000000", "/bytes/0", "/whole/3000000", "/whole/524289"])
async def test_a_response_of_any_length_keeps_the_connection(
    streaming: StreamingWorld, path: str
) -> None:
    async with aiohttp.ClientSession() as client:
        for _ in range(2):
            async with client.get(streaming.url(path)) as answer:
                body = await answer.read()
            assert (answer.status, len(body)) == (200, int(path.rpartition("/")[2]))
            length = answer.headers.get("content-length", "")
            assert length == (str(len(body)) if path.startswith("/whole") else "")
            assert answer.headers["kubefox-app-deployment"] == "v1"


async def test_the_components_content_length_is_passed_on(streaming: StreamingWorld) -> None:
    answer = await ask(streaming.port, GET % b"/bytes/700000?say=700000")

    assert answer.header("content-length") == "700000"
    assert answer.all("transfer-encoding") == []
    assert len(answer.body) == 700000


@pytest.mark.parametrize("declared", [b"699999", b"700001"])
async def test_a_response_that_differs_from_its_content_length_is_cut_off(
    streaming: StreamingWorld, declared: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(streaming.port) as connection:
        await connection.send(GET % (b"/bytes/700000?say=" + declared))
        head = await connection.read_head()
        body = await connection.wait_closed()

    assert len(body) != int(declared)
    assert f"the response to event {head.header('kubefox-event-id')} was cut off" in caplog.text


async def test_a_response_to_http_1_0_ends_with_the_connection(streaming: StreamingWorld) -> None:
    async with connect(streaming.port) as connection:
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
async def test_a_response_without_a_body_cancels_its_stream(
    streaming: StreamingWorld, request_: bytes, status: int
) -> None:
    async with connect(streaming.port) as connection:
        await connection.send(request_)
        head = await connection.read_head()
        await connection.send(GET % b"/size")
        after = await connection.read()

    assert (head.status, head.all("transfer-encoding")) == (status, [])
    assert after.body == b"0"


async def test_server_sent_events_arrive_one_by_one(streaming: StreamingWorld) -> None:
    async with aiohttp.ClientSession() as client, client.get(streaming.url("/events")) as answer:
        first = await answer.content.readuntil(b"\n\n")
        streaming.signals.next_chunk.set()
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
async def test_a_handler_that_fails_during_its_response_cuts_it_off(
    streaming: StreamingWorld, request_: bytes, is_reset: bool, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", streaming.port)
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
    assert "was cut off" in caplog.text


async def test_a_slow_reader_does_not_block_other_responses(streaming: StreamingWorld) -> None:
    async with connect(streaming.port) as slow:
        await slow.send(GET % b"/bytes/64000000")
        await slow.read_head()
        answers = [await ask(streaming.port, GET % b"/size") for _ in range(20)]
        pod = streaming.world.pods[1].streams
        [sending] = pod._endpoints.values()

        # The window, the socket buffers and one chunk: far less than the whole body.
        assert sending._core._spent < 12 * MIB

    assert {answer.body for answer in answers} == {b"0"}


async def test_keep_alives_keep_server_sent_events_open_beyond_the_event_ttl(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They are sent four times in the idle timeout.
    monkeypatch.setattr(outgoing, "KEEP_ALIVE_S", 0.1)
    async with open_streaming_world(
        own_nats_server.url, stream_idle_s=2.0, event_ttl_s=1.0
    ) as streaming:
        async with (
            aiohttp.ClientSession() as client,
            client.get(streaming.url("/events")) as answer,
        ):
            for _ in range(6):
                while await answer.content.readuntil(b"\n\n") != b": keep-alive\n\n":
                    pass
            streaming.signals.next_chunk.set()
            assert (await answer.content.read()).endswith(b"data: b\n\n")
        await streaming.wait_idle()


@pytest.mark.parametrize("lengths", [("a",), ("-1",), ("1", "2"), ("\u0661",)])
def test_an_invalid_content_length_is_component_failed(lengths: tuple[str, ...]) -> None:
    headers = tuple(("content-length", length) for length in lengths)

    with pytest.raises(ComponentFailed):
        codec.length_of(ResponseHead(status=200, headers=headers, source="web@1"))


async def test_a_response_after_the_deadline_is_not_generated(
    own_nats_server: NatsServer,
) -> None:
    async with open_streaming_world(own_nats_server.url, event_ttl_s=0.2) as streaming:
        late = asyncio.Event()
        kit = Kit()

        @kit.route("All()")
        async def answer(ctx: Context) -> Response:
            try:
                await late.wait()
            except asyncio.CancelledError:
                await late.wait()
            return endless(streaming.signals)

        await streaming.plane.deploy("v2", {"late": kit}, "late")
        pod, receiver = await streaming.plane.start("late", kit, "late")
        refused = await ask(streaming.port, GET % b"/?kf-dep=v2&kf-ve=team-a")
        late.set()
        async with asyncio.timeout(SOON_S):
            while receiver.in_flight or len(pod.streams):
                await asyncio.sleep(0)

    assert refused.status == 504
    assert not streaming.signals.ended.is_set()
