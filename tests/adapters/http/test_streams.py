"""Bodies of any length through HTTP, the broker and components, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import socket
from collections.abc import AsyncIterator, Callable

import aiohttp
import msgspec
import pytest

from adapters.http import codec, connection
from adapters.http.server import HttpAdapter
from broker.broker import Broker
from broker.streams import Streams
from fox import Context, Kit, Response, ServerSentEvent
from model.errors import ComponentFailed
from model.event import Response as ResponseHead
from tests.adapters.http.raw import ask, connect
from tests.support.data_plane import SETTINGS, DataPlane, open_data_plane
from tests.support.garbage import leaves_no_frame_of
from tests.support.nats import NatsServer

MIB = 1 << 20
SOON_S = 20
GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST %s HTTP/1.1\r\nHost: x\r\n"


class World:
    """A component with streams of all kinds, and one between it and the client."""

    def __init__(
        self, plane: DataPlane, adapter: HttpAdapter, streams: list[Streams], signs: Signs
    ) -> None:
        self.signs = signs
        self.plane = plane
        self.adapter = adapter
        self.port = adapter.port
        self.streams = streams

    async def wait_idle(self) -> None:
        """Return when no stream is left anywhere, and no event in flight."""
        async with asyncio.timeout(SOON_S):
            while any(map(len, self.streams)) or self.broker.in_flight:
                await asyncio.sleep(0)

    @property
    def broker(self) -> Broker:
        return self.plane.broker


class Signs:
    """Between a test and the component.

    Attributes:
        ended: Set when an endless answer has been closed.
        go_on: Lets one more chunk be made.
    """

    def __init__(self) -> None:
        self.ended, self.go_on = asyncio.Event(), asyncio.Event()


def sized(ctx: Context) -> Response:
    """Answer with as many bytes as are asked for."""
    size = int(ctx.params["size"])

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(size // MIB):
            yield bytes(MIB)
        yield bytes(size % MIB)

    headers = {"content-length": ctx.query["say"]} if "say" in ctx.query else {}
    return Response.stream(chunks(), status=int(ctx.query.get("status", "200")), headers=headers)


def endless(signs: Signs) -> Response:
    """Answer with one chunk, and another one at each sign."""

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
                await signs.go_on.wait()
                signs.go_on.clear()
        finally:
            signs.ended.set()

    return Response.stream(chunks())


def two_events(signs: Signs) -> Response:
    """Answer with an event, and another one at a sign."""

    async def made() -> AsyncIterator[ServerSentEvent | dict[str, int]]:
        yield {"first": 1}
        await signs.go_on.wait()
        yield ServerSentEvent(data="a\nb", event="second", id="2")

    return Response.events(made())


def failing() -> Response:
    """Answer with some bytes, and fail."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"some"
        raise ValueError("internal")

    return Response.stream(chunks())


async def digest_of(ctx: Context) -> str:
    """Return the size and the digest of the body."""
    found, size = hashlib.sha256(), 0
    async for chunk in ctx.stream():
        found.update(chunk)
        size += len(chunk)
    return f"{size} {found.hexdigest()}"


ANSWERS: dict[str, Callable[[Context, Signs], Response | str | bytes]] = {
    "bytes": lambda ctx, _: sized(ctx),
    "whole": lambda ctx, _: bytes(int(ctx.params["size"])),
    "endless": lambda _, signs: endless(signs),
    "events": lambda _, signs: two_events(signs),
    "fail": lambda _ctx, _signs: failing(),
    "size": lambda ctx, _: str(len(ctx.body)),
}


def back(signs: Signs) -> Kit:
    kit = Kit()

    @kit.route("Path(`/{what}`)", priority=1)
    @kit.route("Path(`/{what}/{size}`)", priority=1)
    async def answer(ctx: Context) -> Response | str | bytes:
        return ANSWERS[ctx.params["what"]](ctx, signs)

    @kit.route("Path(`/read/{how}`)", priority=2, streams_body=True)
    async def read(ctx: Context) -> Response | str:
        match ctx.params["how"]:
            case "digest":
                return await digest_of(ctx)
            case "echo":
                return Response.stream(ctx.stream())
        return "not read"

    @kit.default(streams_body=True)
    async def serve(ctx: Context) -> Response:
        if ctx.path == "/fail":
            return failing()
        return Response.stream(ctx.stream()) if ctx.method == "POST" else endless(signs)

    return kit


def front() -> Kit:
    kit = Kit()
    api = kit.component("back")

    @kit.route("Path(`/via`)", priority=3, streams_body=True)
    async def pass_on(ctx: Context) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            async with api.stream(ctx.method, "/", ctx=ctx, body=ctx.stream()) as answer:
                async for chunk in answer:
                    yield chunk

        return Response.stream(chunks())

    @kit.route("Path(`/get/{name}`)", priority=3)
    async def get(ctx: Context) -> str:
        answer = await api.post(f"/{ctx.params['name']}", ctx=ctx, body=bytes(2 * MIB))
        return str(len(answer.body))

    return kit


@contextlib.asynccontextmanager
async def open_world(url: str, **changes: float) -> AsyncIterator[World]:
    signs = Signs()
    settings = msgspec.structs.replace(SETTINGS, body_limit_bytes=5 * MIB, **changes)
    async with open_data_plane(url, settings) as plane, HttpAdapter(plane.broker, settings) as http:
        await plane.virtual_environment("team-a")
        kits = {"front": front(), "back": back(signs)}
        await plane.deploy("v1", kits)
        buses = [(await plane.start(name, kit))[0] for name, kit in kits.items()]
        await plane.release("team-a", "v1")
        yield World(plane, http, [each.streams for each in (plane.broker.bus, *buses)], signs)


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[World]:
    async with open_world(own_nats_server.url) as world:
        yield world
        await world.wait_idle()


def url(world: World, path: str) -> str:
    return f"http://127.0.0.1:{world.port}{path}"


@pytest.mark.parametrize("path", ["/bytes/3000000", "/bytes/0", "/whole/3000000", "/whole/524289"])
async def test_an_answer_of_any_length_arrives_whole_and_the_connection_goes_on(
    world: World, path: str
) -> None:
    async with aiohttp.ClientSession() as client:
        for _ in range(2):
            async with client.get(url(world, path)) as answer:
                body = await answer.read()
            assert (answer.status, len(body)) == (200, int(path.rpartition("/")[2]))
            assert answer.headers["transfer-encoding"] == "chunked"
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


async def test_a_client_that_leaves_ends_the_generator(world: World) -> None:
    async with connect(world.port) as connection:
        await connection.send(GET % b"/endless")
        assert (await connection.read_head()).status == 200
        await connection._reader.readuntil(b"more")
        assert world.broker.in_flight == 1

    async with asyncio.timeout(SOON_S):
        await world.signs.ended.wait()


async def test_a_client_that_leaves_ends_the_generators_of_all_components(world: World) -> None:
    async with connect(world.port) as connection:
        await connection.send(GET % b"/via")
        assert (await connection.read_head()).status == 200
        await connection._reader.readuntil(b"more")

    async with asyncio.timeout(SOON_S):
        await world.signs.ended.wait()


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


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_of_any_length_reaches_a_handler_that_streams_it(
    world: World, is_chunked: bool
) -> None:
    part, parts = b"0123456789abcdef" * 4096, 320

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(parts):
            yield part

    headers = {} if is_chunked else {"content-length": str(len(part) * parts)}
    async with aiohttp.ClientSession() as client:
        sent = client.post(url(world, "/read/digest"), data=chunks(), headers=headers)
        async with sent as answer:
            text = await answer.text()

    assert text == f"{len(part) * parts} {hashlib.sha256(part * parts).hexdigest()}"


async def test_a_body_is_passed_on_as_it_comes_and_answered_meanwhile(world: World) -> None:
    async with connect(world.port) as connection:
        await connection.send(POST % b"/read/echo" + b"Transfer-Encoding: chunked\r\n\r\n")
        await connection.read_head()
        for each in (b"one", b"two"):
            await connection.send(b"3\r\n%s\r\n" % each)
            assert await connection._reader.readexactly(8) == b"3\r\n%s\r\n" % each
        await connection.send(b"0\r\n\r\n")
        assert await connection._reader.readexactly(5) == b"0\r\n\r\n"
        await connection.send(GET % b"/size")
        assert (await connection.read()).body == b"0"


@pytest.mark.parametrize(("size", "status"), [(3 * MIB, 200), (5 * MIB, 200), (5 * MIB + 1, 413)])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_handler_that_does_not_stream_gets_the_whole_body_within_the_limit(
    world: World, size: int, status: int, is_chunked: bool
) -> None:
    framing = (
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" if is_chunked else b"Content-Length: %d\r\n\r\n"
    )
    end = b"\r\n0\r\n\r\n" if is_chunked else b""
    async with connect(world.port) as connection:
        sending = asyncio.create_task(
            connection.send(POST % b"/size" + framing % size + bytes(size) + end)
        )
        answer = await connection.read()
        sending.cancel()
        await asyncio.wait([sending])

    assert answer.status == status
    assert status != 200 or answer.body == b"%d" % size


async def test_a_client_is_invited_when_its_body_is_wanted(world: World) -> None:
    head = b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    async with connect(world.port) as connection:
        await connection.send(POST % b"/read/digest" + head)
        assert (await connection.read_head()).status == 100
        await connection.send(bytes(1000000))
        assert (await connection.read()).body.startswith(b"1000000 ")
    async with connect(world.port) as connection:
        await connection.send(POST % b"/read/ignore" + head)
        assert (await connection.read()).body == b"not read"


async def test_a_client_that_leaves_in_mid_body_leaves_nothing_behind(world: World) -> None:
    with leaves_no_frame_of("adapters/http"):
        async with connect(world.port) as connection:
            await connection.send(POST % b"/read/echo" + b"Content-Length: 9000000\r\n\r\nabc")
            await connection.read_head()
        await world.wait_idle()
        await ask(world.port, GET % b"/size")


async def test_bodies_travel_from_component_to_component_both_ways(world: World) -> None:
    size = 8 * MIB
    async with aiohttp.ClientSession() as client:
        async with client.post(url(world, "/via"), data=io.BytesIO(bytes(size))) as answer:
            assert len(await answer.read()) == size
        async with client.get(url(world, "/get/echo")) as answer:
            assert await answer.text() == str(2 * MIB)
        async with client.get(url(world, "/get/fail")) as answer:
            assert (answer.status, (await answer.json())["code"]) == (500, "component_failed")


async def test_a_stream_without_progress_ends_on_both_ends(own_nats_server: NatsServer) -> None:
    async with open_world(own_nats_server.url, stream_idle_s=0.2) as world:
        async with connect(world.port) as connection:
            await connection.send(GET % b"/endless")
            await connection.read_head()
            body = await connection.wait_closed()
        await world.wait_idle()

    assert body == b"4\r\nmore\r\n"
    assert world.signs.ended.is_set()


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


async def test_a_body_may_take_longer_than_the_time_to_live(own_nats_server: NatsServer) -> None:
    async with open_world(own_nats_server.url, event_ttl_s=0.3) as world:
        begun = asyncio.get_running_loop().time()
        async with connect(world.port) as connection:
            await connection.send(POST % b"/read/digest" + b"Transfer-Encoding: chunked\r\n\r\n")
            while asyncio.get_running_loop().time() < begun + 1:
                await connection.send(b"1\r\na\r\n")
                await asyncio.sleep(0.02)
            await connection.send(b"0\r\n\r\n")
            assert (await connection.read()).status == 200


async def test_a_nats_that_restarts_cuts_all_streams_and_leaves_none(
    world: World, own_nats_server: NatsServer
) -> None:
    async with connect(world.port) as down, connect(world.port) as up:
        await down.send(GET % b"/via")
        await down._reader.readuntil(b"more")
        await up.send(POST % b"/read/echo" + b"Content-Length: 9000000\r\n\r\nabc")
        await up.read_head()

        await asyncio.to_thread(own_nats_server.restart)
        async with asyncio.timeout(SOON_S):
            assert not (await down.wait_closed()).endswith(b"0\r\n\r\n")
            assert not (await up.wait_closed()).endswith(b"0\r\n\r\n")
        await world.wait_idle()

    assert world.signs.ended.is_set()


async def test_leaving_lets_a_stream_end_and_cuts_what_does_not(
    own_nats_server: NatsServer,
) -> None:
    async with open_world(own_nats_server.url, drain_s=0.2) as world:
        async with connect(world.port) as connection:
            await connection.send(GET % b"/endless")
            await connection._reader.readuntil(b"more")
            await world.adapter.__aexit__(None, None, None)
            body = await connection.wait_closed()
        await world.wait_idle()

    assert not body.endswith(b"0\r\n\r\n")
    assert world.signs.ended.is_set()


@pytest.mark.parametrize("lengths", [("a",), ("-1",), ("1", "2"), ("\u0661",)])
def test_a_length_that_is_none_is_a_failure_of_the_component(lengths: tuple[str, ...]) -> None:
    headers = tuple(("content-length", each) for each in lengths)

    with pytest.raises(ComponentFailed):
        codec.length_of(ResponseHead(status=200, headers=headers, source="web@1"))


async def test_a_client_that_takes_nothing_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TOUCH_S", 0.02)
    monkeypatch.setattr(connection, "WRITE_S", 0.1)
    async with connect(world.port) as slow:
        await slow.send(GET % b"/bytes/64000000")
        await slow.read_head()
        await world.wait_idle()


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


async def test_a_client_that_takes_little_but_something_is_served_on(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TOUCH_S", 0.02)
    async with open_world(own_nats_server.url, stream_idle_s=0.4) as world:
        now_s = asyncio.get_running_loop().time
        begun_s = now_s()
        with socket.socket() as small:
            # With the kernel's megabytes in between, the server would see nothing of it for long.
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            small.connect(("127.0.0.1", world.port))
            reader, writer = await asyncio.open_connection(sock=small, limit=16 * 1024)
            writer.write(GET % b"/bytes/64000000")
            while now_s() < begun_s + 1.2:
                await reader.readexactly(4_000)
                await asyncio.sleep(0.005)
            assert world.broker.in_flight == 1
            writer.close()
        await world.wait_idle()
