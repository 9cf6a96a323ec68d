"""`FOX_HEALTH_PORT`: what probes of Kubernetes see of a part of the platform."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from fox.data_dir import KEY_FILE
from tests.fox.cli.conftest import FOX, STOP_S
from tests.support.http_serving import serve_http
from tests.support.nats import NatsServer
from tests.support.ports import free_ports

WAIT_S = 60
ROLES = ["control", "http", "adapters", "pods"]


async def ask(port: int, path: str) -> tuple[int, str]:
    """Return the status and the text of an answer; 0 if nobody listens."""
    try:
        async with aiohttp.request("GET", f"http://127.0.0.1:{port}{path}") as response:
            return response.status, await response.text()
    except aiohttp.ClientConnectionError:
        return 0, ""


async def wait_for(port: int, path: str, status: int) -> str:
    """Return the text of the first answer with this status."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found, text = await ask(port, path)
            if found == status:
                return text
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def serve(role: str, nats: NatsServer, folder: Path, **more: str) -> AsyncIterator[int]:
    """Run a part until the context ends; return its port for probes."""
    (port,) = free_ports(1)
    environ = {
        **os.environ,
        **nats.environ,
        "FOX_DATA_DIR": str(folder / role),
        "FOX_KEY_FILE": "" if role == "control" else str(folder / "control" / KEY_FILE),
        "FOX_HTTP_PORT": "0",
        "FOX_CONTROL_PORT": "0",
        "FOX_HEALTH_PORT": str(port),
        **more,
    }
    process = await asyncio.create_subprocess_exec(*FOX, "serve", role, env=environ)
    try:
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_S):
            assert await process.wait() == 0


@pytest.mark.parametrize("role", ROLES)
async def test_a_part_is_alive_before_it_is_ready(
    own_secured_nats_server: NatsServer, tmp_path: Path, role: str
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if role != "control":
            # Without control, nobody makes the keys.
            port = await stack.enter_async_context(serve(role, own_secured_nats_server, tmp_path))
            await wait_for(port, "/healthz", 200)
            waiting = await wait_for(port, "/readyz", 503)
            assert "start" in waiting
        control = serve("control", own_secured_nats_server, tmp_path)
        port_of_control = await stack.enter_async_context(control)

        for each in {port_of_control, port if role != "control" else port_of_control}:
            assert await wait_for(each, "/readyz", 200) == "ok\n"


async def test_a_part_that_has_lost_nats_is_alive_and_not_ready(
    own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    async with serve("control", own_secured_nats_server, tmp_path) as port:
        await wait_for(port, "/readyz", 200)

        await asyncio.to_thread(own_secured_nats_server.stop)
        text = await wait_for(port, "/readyz", 503)
        alive, _ = await ask(port, "/healthz")
        await asyncio.to_thread(own_secured_nats_server.start)

        assert "nats" in text
        assert alive == 200
        await wait_for(port, "/readyz", 200)


async def test_several_workers_do_not_ask_for_the_same_port(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    options = ("--workers", "2")

    async with serve_http(nats_server, tmp_path / "log", *options, FOX_HEALTH_PORT=str(port)):
        assert await ask(port, "/healthz") == (0, "")
