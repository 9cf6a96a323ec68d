"""Store: sends bytes, counts bytes, and sends the time as events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from fox import Context, Kit, Response

kit = Kit(title="Store")
PART = bytes(128 * 1024)


async def parts(size: int) -> AsyncIterator[bytes]:
    """Yield ``size`` bytes in parts."""
    for _ in range(size // len(PART)):
        yield PART


async def times(count: int) -> AsyncIterator[str]:
    """Yield the Unix time in ns, every 2 ms."""
    for _ in range(count):
        await asyncio.sleep(0.002)
        yield str(time.time_ns())


async def count(ctx: Context) -> str:
    """Return the size of the body."""
    size = 0
    async for chunk in ctx.stream():
        size += len(chunk)
    return str(size)


@kit.route("Path(`/{{.Vars.subPath}}/bytes`)", streams_body=True)
async def serve(ctx: Context) -> Response | str:
    """Return the number of received bytes for POST, else ``size`` bytes."""
    if ctx.method == "POST":
        return await count(ctx)
    return Response.stream(parts(int(ctx.query["size"])))


@kit.route("Path(`/{{.Vars.subPath}}/events`)")
async def events(ctx: Context) -> Response:
    """Send the time ``count`` times."""
    return Response.events(times(int(ctx.query["count"])))


kit.default(streams_body=True)(serve)
