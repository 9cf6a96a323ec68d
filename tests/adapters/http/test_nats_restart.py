"""The HTTP adapter while NATS is away, and after it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.http.server import READY_PATH, HttpAdapter
from fox import Context, Kit
from tests.adapters.http.raw import Answer, ask
from tests.support.data_plane import SETTINGS, DataPlane, open_data_plane
from tests.support.nats import NatsServer

EXPLAIN = "kubefox-explain: 1\r\n"


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[DataPlane]:
    web = Kit()

    @web.route("All()")
    async def tell(ctx: Context) -> str:
        return ctx.deployment

    async with open_data_plane(own_nats_server.url) as plane:
        await plane.virtual_environment("team-a")
        for name in ("v1", "v2"):
            await plane.deploy(name, {"web": web})
        await plane.release("team-a", "v1")
        await plane.start("web", web)
        yield plane


@pytest.fixture
async def port(plane: DataPlane) -> AsyncIterator[int]:
    async with HttpAdapter(plane.broker, SETTINGS) as adapter:
        yield adapter.port


async def get(port: int, path: str, headers: str = "") -> Answer:
    return await ask(port, f"GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n".encode())


async def wait_gone(plane: DataPlane) -> None:
    while plane.broker.bus.is_ready:
        await asyncio.sleep(0)


async def wait_ready(port: int) -> None:
    while (await get(port, READY_PATH)).status != 200:
        await asyncio.sleep(0)


async def test_without_nats_it_is_not_ready_and_decides_by_what_it_knows(
    plane: DataPlane, port: int, own_nats_server: NatsServer
) -> None:
    assert (await get(port, READY_PATH)).status == 200
    before = await get(port, "/", EXPLAIN)

    await asyncio.to_thread(own_nats_server.kill)
    await wait_gone(plane)

    assert (await get(port, READY_PATH)).status == 503
    assert (await get(port, "/", EXPLAIN)).body == before.body
    assert (await get(port, "/?kf-ve=nobody")).status == 404
    refused = await get(port, "/")
    assert refused.status == 503
    assert refused.json()["code"] == "nats_unavailable"
    assert refused.header("kubefox-app-deployment") == "v1"
    assert refused.header("retry-after") == "1"


async def test_once_nats_is_back_it_is_ready_and_routes_by_what_it_missed(
    plane: DataPlane, port: int, own_nats_server: NatsServer
) -> None:
    await asyncio.to_thread(own_nats_server.kill)
    await wait_gone(plane)
    await asyncio.to_thread(own_nats_server.start)
    async with open_data_plane(own_nats_server.url, process_id="other") as other:
        await other.release("team-a", "v2")
        revision = other.broker.snapshot.revision

    await plane.broker.store.wait_revision(revision)
    await wait_ready(port)

    assert (await get(port, "/")).body == b"v2"
