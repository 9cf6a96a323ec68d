"""Bare aiohttp with the work of the component ``store``, on its low-level server."""

from __future__ import annotations

import asyncio
import time

import uvloop
from aiohttp import web

from benchmarks.e2e.bare import serve

PART = bytes(128 * 1024)


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    """Answer as the component ``store`` does."""
    if request.method == "POST":
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        return web.Response(text=str(size))
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    if "count" in request.query:
        for _ in range(int(request.query["count"])):
            await asyncio.sleep(0.002)
            await response.write(f"data: {time.time_ns()}\n\n".encode())
    else:
        for _ in range(int(request.query["size"]) // len(PART)):
            await response.write(PART)
    await response.write_eof()
    return response


if __name__ == "__main__":
    uvloop.run(serve(answer))
