"""Components that stream, and a world with them behind an HTTP adapter."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable

import msgspec

from adapters.http.limits import HttpLimits
from adapters.http.server import HttpAdapter
from broker.dispatch.broker import Broker
from fox import Context, Kit, Response, ServerSentEvent
from tests.adapters.http.limits import DEFAULTS
from tests.support.data_plane import SETTINGS, DataPlane
from tests.support.world import World, open_world

MIB = 1 << 20
SOON_S = 120
GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST %s HTTP/1.1\r\nHost: x\r\n"


class Signals:
    """Events between a test and the component.

    Attributes:
        begun: Set when a handler that waits has begun.
        ended: Set when an endless response has been closed, or a handler that waits has ended.
        next_chunk: Makes an endless response yield one more chunk, or a handler that waits end.
    """

    def __init__(self) -> None:
        self.begun, self.ended, self.next_chunk = (asyncio.Event() for _ in range(3))


def sized(ctx: Context) -> Response:
    """Respond with the number of bytes in the path."""
    size = int(ctx.params["size"])

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(size // MIB):
            yield bytes(MIB)
        yield bytes(size % MIB)

    headers = {"content-length": ctx.query["say"]} if "say" in ctx.query else {}
    return Response.stream(chunks(), status=int(ctx.query.get("status", "200")), headers=headers)


def endless(signals: Signals) -> Response:
    """Respond with one chunk, and another one at each signal."""

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
                await signals.next_chunk.wait()
                signals.next_chunk.clear()
        finally:
            signals.ended.set()

    return Response.stream(chunks())


def two_events(signals: Signals) -> Response:
    """Respond with an event, and another one at a signal."""

    async def made() -> AsyncIterator[ServerSentEvent | dict[str, int]]:
        yield {"first": 1}
        await signals.next_chunk.wait()
        yield ServerSentEvent(data="a\nb", event="second", id="2")

    return Response.events(made())


async def wait(signals: Signals) -> str:
    """Respond at a signal."""
    signals.begun.set()
    try:
        await signals.next_chunk.wait()
    finally:
        signals.ended.set()
    return "done"


def failing() -> Response:
    """Respond with some bytes, and fail."""

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


ANSWERS: dict[str, Callable[[Context, Signals], Response | str | bytes]] = {
    "bytes": lambda ctx, _: sized(ctx),
    "whole": lambda ctx, _: bytes(int(ctx.params["size"])),
    "endless": lambda _, signals: endless(signals),
    "events": lambda _, signals: two_events(signals),
    "fail": lambda _ctx, _signals: failing(),
    "size": lambda ctx, _: str(len(ctx.body)),
}


def back(signals: Signals) -> Kit:
    kit = Kit()

    @kit.route("Path(`/{what}`)", priority=1)
    @kit.route("Path(`/{what}/{size}`)", priority=1)
    async def answer(ctx: Context) -> Response | str | bytes:
        return ANSWERS[ctx.params["what"]](ctx, signals)

    @kit.route("Path(`/read/{how}`)", priority=2, streams_body=True)
    async def read(ctx: Context) -> Response | str:
        match ctx.params["how"]:
            case "digest":
                return await digest_of(ctx)
            case "echo":
                return Response.stream(ctx.stream())
            case "wait":
                return await wait(signals)
        return "not read"

    @kit.default(streams_body=True)
    async def serve(ctx: Context) -> Response:
        if ctx.path == "/fail":
            return failing()
        return Response.stream(ctx.stream()) if ctx.method == "POST" else endless(signals)

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


class StreamingWorld:
    """A front and a back component that stream, behind an HTTP adapter.

    Attributes:
        world: The platform; its pods are front and back.
        adapter: The HTTP adapter.
        signals: Events between the test and the back component.
    """

    def __init__(self, world: World, adapter: HttpAdapter, signals: Signals) -> None:
        self.world = world
        self.adapter = adapter
        self.signals = signals
        self.port = adapter.port

    @property
    def plane(self) -> DataPlane:
        return self.world.plane

    @property
    def broker(self) -> Broker:
        return self.world.broker

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def wait_idle(self) -> None:
        """Return when no event is in flight and no stream is open."""
        await self.world.wait_idle()


@contextlib.asynccontextmanager
async def open_streaming_world(
    url: str, limits: HttpLimits = DEFAULTS, **settings: float
) -> AsyncIterator[StreamingWorld]:
    """Open a world with both components released.

    Args:
        url: Of the nats-server.
        limits: Of the HTTP adapter.
        settings: Settings of the process that differ from the defaults.
    """
    signals = Signals()
    changed = msgspec.structs.replace(SETTINGS, body_limit_bytes=5 * MIB, **settings)
    async with open_world(url, changed) as world:
        kits = {"front": front(), "back": back(signals)}
        await world.serve("v1", kits, released_in="team-a")
        adapter = await world.enter_adapter(HttpAdapter(world.broker, changed, limits))
        yield StreamingWorld(world, adapter, signals)
