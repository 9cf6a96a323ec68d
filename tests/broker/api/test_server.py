"""The control API's server: its readiness, its streams, its end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from broker.api.server import ControlApi
from pods.logs import PodLogs
from tests.broker.api.client import POD, Client, OpenApi
from tests.support.control_plane import Plane
from tests.support.nats import NatsServer


async def test_health_and_version(client: Client) -> None:
    assert await client.call("GET", "/healthz") == (200, {"status": "ok", "parts": {}})
    assert await client.call("GET", "/readyz") == (200, {"status": "ok", "parts": {"nats": True}})
    assert await client.call("GET", "/v1/version") == (200, {"version": "1.2.3"})


async def test_without_nats_it_is_alive_but_not_ready(
    client: Client, plane: Plane, own_nats_server: NatsServer
) -> None:
    await asyncio.to_thread(own_nats_server.kill)
    await plane.wait_disconnected()

    assert (await client.call("GET", "/healthz"))[0] == 200
    async with client.session.get(f"{client.url}/readyz") as answer:
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert "nats" in (await answer.json(content_type=None))["detail"]
    status, answer_to_write = await client.call("PUT", "/v1/environments/dev", {"name": "dev"})
    assert (status, answer_to_write["code"]) == (503, "nats_unavailable")


async def test_logs_are_read(client: Client, logs: PodLogs) -> None:
    logs.write(POD, ["one", "two", "three"])

    async with client.session.get(f"{client.url}/v1/logs?tail=2&component=api-server") as answer:
        lines = [json.loads(line) async for line in answer.content]

    assert answer.content_type == "application/x-ndjson"
    assert [(each["pod"], each["line"]) for each in lines] == [
        ("api-server-1", "two"),
        ("api-server-1", "three"),
    ]


async def test_logs_are_followed_until_the_reader_leaves(client: Client, logs: PodLogs) -> None:
    logs.write(POD, ["one"])

    async with client.session.get(f"{client.url}/v1/logs?follow=true") as answer:
        assert json.loads(await answer.content.readline())["line"] == "one"
        logs.write(POD, ["two"])
        assert json.loads(await answer.content.readline())["line"] == "two"
        assert len(logs._readers) == 1
        answer.close()
        while logs._readers:
            await asyncio.sleep(0)


async def test_a_stream_that_breaks_off_is_logged(
    client: Client,
    logs: PodLogs,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    logs.write(POD, ["one"])
    monkeypatch.setattr("broker.api.application._encode", lambda _line: 1 / 0)

    async with client.session.get(f"{client.url}/v1/logs") as answer:
        assert await answer.read() == b""

    assert "a stream broke off" in caplog.text


async def test_a_shutdown_ends_streams_and_finishes_writes(
    plane: Plane, open_api: OpenApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = type(plane.control.environments).put
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def put_slowly(*args: Any, **options: Any) -> Any:
        has_begun.set()
        await may_end.wait()
        return await put(*args, **options)

    monkeypatch.setattr(type(plane.control.environments), "put", put_slowly)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        async with open_api(host="127.0.0.1", port=0, version="1", readiness={}) as api:
            client = Client(session, api.url)
            stream = await session.get(f"{api.url}/v1/logs?follow=true")
            write = group.create_task(client.call("PUT", "/v1/environments/dev", {"name": "dev"}))
            await has_begun.wait()
            asyncio.get_running_loop().call_soon(may_end.set)

        assert await stream.read() == b""
        assert (await write)[0] == 200
    assert "dev" in plane.store.snapshot.environments


async def test_a_client_that_leaves_does_not_stop_its_write(
    client: Client, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = type(plane.control.environments).put
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def put_slowly(*args: Any, **options: Any) -> Any:
        has_begun.set()
        await may_end.wait()
        return await put(*args, **options)

    monkeypatch.setattr(type(plane.control.environments), "put", put_slowly)
    request = asyncio.create_task(client.call("PUT", "/v1/environments/dev", {"name": "dev"}))
    await has_begun.wait()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    may_end.set()

    await plane.wait_data(lambda: "dev" in plane.store.snapshot.environments)


async def test_a_port_in_use_is_an_error(api: ControlApi, open_api: OpenApi) -> None:
    with pytest.raises(OSError, match="in use"):
        async with open_api(host="127.0.0.1", port=api.port, version="1", readiness={}):
            pass
