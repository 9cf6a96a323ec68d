"""Bare aiohttp: its low-level server, which answers itself or calls another server.

``python -m benchmarks.e2e.bare [URL]``
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import aiohttp
import uvloop
from aiohttp import web

BODY = b"x" * 512

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


async def serve(handle: Handle) -> None:
    """Serve on a free port of loopback until killed; print the port on standard output."""
    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("listening", runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def answer(_request: web.BaseRequest) -> web.Response:
    """Answer with 512 bytes."""
    return web.Response(body=BODY)


async def _pass_on(url: str) -> None:
    async with aiohttp.ClientSession() as session:

        async def handle(_request: web.BaseRequest) -> web.Response:
            async with session.get(url) as found:
                return web.Response(body=await found.read())

        await serve(handle)


if __name__ == "__main__":
    uvloop.run(_pass_on(sys.argv[1]) if len(sys.argv) > 1 else serve(answer))
