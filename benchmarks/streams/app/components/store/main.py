"""Makes bytes, counts bytes, and tells the time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from fox import Context, Kit, Response

kit = Kit(title="Store")
PART = bytes(128 * 1024)


async def parts(size: int) -> AsyncIterator[bytes]:
    """Yield as many bytes."""
    for _ in range(size // len(PART)):
        yield PART


async def times(count: int) -> AsyncIterator[str]:
    """Yield the time of this moment, in ns, every 2 ms."""
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
    """Answer with as many bytes, or say how many came."""
    if ctx.method == "POST":
        return await count(ctx)
    return Response.stream(parts(int(ctx.query["size"])))


@kit.route("Path(`/{{.Vars.subPath}}/events`)")
async def events(ctx: Context) -> Response:
    """Send the time again and again."""
    return Response.events(times(int(ctx.query["count"])))


kit.default(streams_body=True)(serve)
