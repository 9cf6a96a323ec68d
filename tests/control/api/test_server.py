"""The server of the control API: its readiness, its streams and its shutdown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from broker.events.dead_letters import DeadLetters
from broker.storage.pod_logs import LogQuery
from broker.storage.token_store import TokenStore
from broker.telemetry.collector import Collector
from control.api.server import ControlApi, open_control_api
from kubefox.pod import LogLine
from pods.logs import PodLogs
from tests.control.api.client import POD, Client, OpenApi
from tests.support.control_plane import Plane
from tests.support.nats import NatsServer
from tests.support.owner import CREDENTIALS, open_access


class BrokenLogs:
    """Fails after the first line."""

    async def read(self, _query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """Yield one line, and fail."""
        yield LogLine(
            at_s=1, pod=POD.id, app=POD.app, component=POD.component, hash=POD.hash, line="one"
        )
        raise KeyError("broken")


async def test_health_and_version(client: Client) -> None:
    assert await client.call("GET", "/healthz") == (200, {"status": "ok", "parts": {}})
    assert await client.call("GET", "/readyz") == (200, {"status": "ok", "parts": {"nats": True}})
    assert await client.call("GET", "/v1/version") == (200, {"version": "1.2.3"})


async def test_without_nats_the_api_is_healthy_but_not_ready(
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


async def test_logs_are_streamed(client: Client, logs: PodLogs) -> None:
    logs.write(POD, ["one", "two", "three"])

    async with client.session.get(f"{client.url}/v1/logs?tail=2&component=api-server") as answer:
        lines = [json.loads(line) async for line in answer.content]

    assert answer.content_type == "application/x-ndjson"
    assert [(line["pod"], line["line"]) for line in lines] == [
        ("api-server-1", "two"),
        ("api-server-1", "three"),
    ]


async def test_logs_are_followed_until_the_client_disconnects(
    client: Client, logs: PodLogs
) -> None:
    logs.write(POD, ["one"])

    async with client.session.get(f"{client.url}/v1/logs?follow=true") as answer:
        assert json.loads(await answer.content.readline())["line"] == "one"
        logs.write(POD, ["two"])
        assert json.loads(await answer.content.readline())["line"] == "two"
        assert len(logs._readers) == 1
        answer.close()
        while logs._readers:
            await asyncio.sleep(0)


async def test_a_stream_that_fails_is_ended_and_logged(
    plane: Plane,
    collector: Collector,
    dead_letters: DeadLetters,
    tokens: TokenStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        open_control_api(
            plane.control,
            BrokenLogs(),
            collector,
            dead_letters,
            tokens,
            access=open_access(tokens, tmp_path),
            host="127.0.0.1",
            port=0,
            version="1",
            readiness={},
        ) as api,
        aiohttp.ClientSession(headers=CREDENTIALS) as session,
        session.get(f"{api.url}/v1/logs") as answer,
    ):
        lines = [json.loads(line) async for line in answer.content]

    assert [line["line"] for line in lines] == ["one"]
    assert "stream /v1/logs failed and was ended" in caplog.text


async def test_shutdown_ends_streams_and_finishes_writes(
    plane: Plane, open_api: OpenApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = type(plane.control.environments).put
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def put_slowly(*args: Any, **options: Any) -> Any:
        has_begun.set()
        await may_end.wait()
        return await put(*args, **options)

    monkeypatch.setattr(type(plane.control.environments), "put", put_slowly)
    async with aiohttp.ClientSession(headers=CREDENTIALS) as session, asyncio.TaskGroup() as group:
        async with open_api(host="127.0.0.1", port=0, version="1", readiness={}) as api:
            client = Client(session, api.url)
            stream = await session.get(f"{api.url}/v1/logs?follow=true")
            write = group.create_task(client.call("PUT", "/v1/environments/dev", {"name": "dev"}))
            await has_begun.wait()
            asyncio.get_running_loop().call_soon(may_end.set)

        assert await stream.read() == b""
        assert (await write)[0] == 200
    assert "dev" in plane.store.snapshot.environments


async def test_a_write_is_finished_after_its_client_disconnects(
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
