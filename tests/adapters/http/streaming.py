"""Components that stream: what they answer, and a platform with them behind the adapter."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable

import msgspec

from adapters.http.server import HttpAdapter
from broker.broker import Broker
from broker.streams import Streams
from fox import Context, Kit, Response, ServerSentEvent
from tests.support.data_plane import SETTINGS, DataPlane, open_data_plane

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
    """Open a platform with both components released; ``changes`` are to its settings."""
    signs = Signs()
    settings = msgspec.structs.replace(SETTINGS, body_limit_bytes=5 * MIB, **changes)
    async with open_data_plane(url, settings) as plane, HttpAdapter(plane.broker, settings) as http:
        await plane.virtual_environment("team-a")
        kits = {"front": front(), "back": back(signs)}
        await plane.deploy("v1", kits)
        buses = [(await plane.start(name, kit))[0] for name, kit in kits.items()]
        await plane.release("team-a", "v1")
        yield World(plane, http, [each.streams for each in (plane.broker.bus, *buses)], signs)


def url(world: World, path: str) -> str:
    return f"http://127.0.0.1:{world.port}{path}"
