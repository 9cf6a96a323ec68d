"""The health of a process over HTTP, for the probes of Kubernetes and of service managers.

``GET /healthz`` is answered as long as the event loop runs. ``GET /readyz`` has the status 200
while every part of the process is ready, and otherwise 503 with the names of those that are not.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus

from aiohttp import web

from broker.runtime.settings import Settings
from fox.start_failures import listen_failures

logger = logging.getLogger(__name__)

Readiness = Mapping[str, Callable[[], bool]]
"""Functions that return whether a part of the process is ready, by its name."""


@contextlib.asynccontextmanager
async def serve_health(settings: Settings, readiness: Readiness) -> AsyncIterator[None]:
    """Answer probes until the context ends, if the settings name a port.

    Args:
        settings: Of the process.
        readiness: It may change; each request reads it.

    Raises:
        Unavailable: The port cannot be listened on.
    """
    if not settings.health_port:
        yield
        return

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_request: web.Request) -> web.Response:
        missing = [name for name, is_ready in readiness.items() if not is_ready()]
        if not missing:
            return web.Response(text="ok\n")
        text = f"not ready: {', '.join(missing)}\n"
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=text)

    app = web.Application()
    app.add_routes([web.get("/healthz", alive), web.get("/readyz", ready)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        with listen_failures("FOX_HEALTH_PORT"):
            await web.TCPSite(runner, settings.health_host, settings.health_port).start()
        logger.info("health is served on %s, port %d", settings.health_host, settings.health_port)
        yield
    finally:
        await runner.cleanup()
