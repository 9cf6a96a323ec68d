"""Traces that clients ask for: trusted clients get them, at a limited rate."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from adapters.http import trust
from adapters.http.server import HttpAdapter
from fox import Context, Kit
from tests.adapters.http.raw import ask
from tests.support.data_plane import SETTINGS
from tests.support.nats import NatsServer
from tests.support.world import World, open_world

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"traceparent: 00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"traceparent: 00-{TRACE}-b7ad6b7169203331-00"
PROXY = "x-forwarded-for: 203.0.113.7"


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[World]:
    """No request is traced unless its client asks for it."""
    settings = msgspec.structs.replace(SETTINGS, trace_ratio=0)
    kit = Kit()

    @kit.route("All()")
    async def show(ctx: Context) -> str:
        return ctx.event.traceparent

    async with open_world(own_nats_server.url, settings) as world:
        await world.serve("v1", {"web": kit}, released_in="team-a")
        yield world


async def flags(world: World, target: str, *headers: str) -> list[str]:
    """Send a request twice; return the trace flags that the component sees."""
    adapter = HttpAdapter(world.broker, world.settings)
    async with adapter:
        lines = (f"GET {target} HTTP/1.1", "host: localhost", *headers, "", "")
        answers = [await ask(adapter.port, "\r\n".join(lines).encode()) for _ in range(2)]
    return [answer.body.decode()[-3:] for answer in answers]


async def test_a_trusted_client_has_its_request_traced(world: World) -> None:
    assert await flags(world, "/?kf-sample=true") == ["-01", "-01"]
    assert await flags(world, "/", SAMPLED) == ["-01", "-01"]


async def test_no_trace_is_forced_through_a_proxy(world: World) -> None:
    assert await flags(world, "/?kf-sample=true", PROXY) == ["", ""]
    assert await flags(world, "/", SAMPLED, PROXY) == ["-00", "-00"]
    assert await flags(world, "/?kf-sample=true", UNSAMPLED, PROXY) == ["-00", "-00"]


async def test_traces_of_one_client_are_limited(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "TRACES_AT_ONCE", 1)
    monkeypatch.setattr(trust, "TRACES_PER_S", 0.001)

    assert await flags(world, "/", SAMPLED) == ["-01", "-00"]


async def test_an_ordinary_request_is_not_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "TRACES_AT_ONCE", 0)

    assert await flags(world, "/", UNSAMPLED) == ["-00", "-00"]
    assert await flags(world, "/") == ["", ""]
