"""A collector that accepts all telemetry and stores nothing.

python -m benchmarks.telemetry.collector
"""

from __future__ import annotations

import asyncio

import uvloop
from aiohttp import web

MAX_BYTES = 64 << 20


async def accept(request: web.Request) -> web.Response:
    """Accept a batch; the empty response means that all of it was accepted."""
    await request.read()
    return web.Response(content_type="application/x-protobuf")


async def main() -> None:
    """Listen on a free port until killed; print the URL on standard output."""
    application = web.Application(client_max_size=MAX_BYTES)
    application.router.add_post("/v1/{signal}", accept)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"at http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
