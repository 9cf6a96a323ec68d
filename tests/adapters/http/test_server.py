"""The start, the readiness and the end of the HTTP adapter."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from adapters.http.server import READY_PATH, HttpAdapter
from fox import Context, Kit
from tests.adapters.http.raw import ask, connect
from tests.support.data_plane import SETTINGS, DataPlane


async def test_closing_finishes_requests_in_flight_and_accepts_no_connection(
    plane: DataPlane,
) -> None:
    kit = Kit()
    started, released = asyncio.Event(), asyncio.Event()

    @kit.route("All()")
    async def wait(ctx: Context) -> str:
        started.set()
        await released.wait()
        return "done"

    await plane.deploy("v1", {"web": kit})
    await plane.start("web", kit)
    await plane.release("team-a", "v1")
    adapter = HttpAdapter(plane.broker, plane.broker.settings)
    await adapter.__aenter__()
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    in_flight = asyncio.create_task(ask(adapter.port, request))
    await started.wait()

    leaving = asyncio.create_task(adapter.__aexit__(None, None, None))
    while True:
        try:
            async with connect(adapter.port):
                await asyncio.sleep(0)
        except ConnectionError:
            break

    assert not adapter.is_ready
    assert not leaving.done()
    released.set()
    assert (await in_flight).body == b"done"
    await leaving


async def test_the_readiness_path_is_answered_without_an_event(
    plane: DataPlane, adapter: HttpAdapter
) -> None:
    request = f"GET {READY_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    ready = await ask(adapter.port, request)
    plane.broker.drain()
    draining = await ask(adapter.port, request)
    refused = await ask(adapter.port, b"GET /?kf-ve=none HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (ready.status, ready.body) == (200, b"ready\n")
    assert (draining.status, draining.body) == (503, b"not ready\n")
    assert ready.all("kubefox-event-id") == []
    assert refused.status == 404


async def test_a_port_in_use_is_an_error(plane: DataPlane, adapter: HttpAdapter) -> None:
    settings = msgspec.structs.replace(SETTINGS, http_port=adapter.port)

    with pytest.raises(OSError, match="in use"):
        await HttpAdapter(plane.broker, settings).__aenter__()


async def test_the_url_has_the_port(adapter: HttpAdapter) -> None:
    assert adapter.url == f"http://127.0.0.1:{adapter.port}"
