"""The HTTP adapter without NATS, and after the reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.http.server import READY_PATH, HttpAdapter
from fox import Context, Kit
from tests.adapters.http.raw import RawResponse, ask
from tests.support.data_plane import SETTINGS, open_data_plane
from tests.support.nats import NatsServer
from tests.support.world import World, open_world

EXPLAIN = "kubefox-explain: 1\r\n"


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[World]:
    web = Kit()

    @web.route("All()")
    async def tell(ctx: Context) -> str:
        return ctx.deployment

    async with open_world(own_nats_server.url, deployments={"v2": {"web": web}}) as world:
        await world.serve("v1", {"web": web}, released_in="team-a")
        yield world


@pytest.fixture
async def port(world: World) -> int:
    return (await world.enter_adapter(HttpAdapter(world.broker, SETTINGS))).port


async def get(port: int, path: str, headers: str = "") -> RawResponse:
    return await ask(port, f"GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n".encode())


async def wait_disconnected(world: World) -> None:
    while world.broker.bus.is_ready:
        await asyncio.sleep(0)


async def wait_ready(port: int) -> None:
    while (await get(port, READY_PATH)).status != 200:
        await asyncio.sleep(0)


async def test_without_nats_it_is_not_ready_and_routes_by_its_last_snapshot(
    world: World, port: int, own_nats_server: NatsServer
) -> None:
    assert (await get(port, READY_PATH)).status == 200
    before = await get(port, "/", EXPLAIN)

    await asyncio.to_thread(own_nats_server.kill)
    await wait_disconnected(world)

    assert (await get(port, READY_PATH)).status == 503
    assert (await get(port, "/", EXPLAIN)).body == before.body
    assert (await get(port, "/?kf-ve=nobody")).status == 404
    refused = await get(port, "/")
    assert refused.status == 503
    assert refused.json()["code"] == "nats_unavailable"
    assert refused.header("kubefox-app-deployment") == "v1"
    assert refused.header("retry-after") == "1"


async def test_after_a_reconnect_it_is_ready_and_routes_by_the_changes_it_missed(
    world: World, port: int, own_nats_server: NatsServer
) -> None:
    await asyncio.to_thread(own_nats_server.kill)
    await wait_disconnected(world)
    await asyncio.to_thread(own_nats_server.start)
    async with open_data_plane(own_nats_server.url, process_id="other") as other:
        await other.release("team-a", "v2")
        revision = other.broker.snapshot.revision

    await world.broker.store.wait_revision(revision)
    await wait_ready(port)
    await world.wait_reconnected()

    assert (await get(port, "/")).body == b"v2"
