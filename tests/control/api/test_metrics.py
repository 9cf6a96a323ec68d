"""The Prometheus text over HTTP: in blocks, whole or cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import aiohttp
import msgspec
import pytest

from broker.telemetry import prometheus
from broker.telemetry.collector import BLOCK_BYTES, Collector
from broker.telemetry.figures import EventLabels, ProcessFigures, SeriesFigures
from broker.telemetry.histogram import BUCKETS, Durations
from kubefox import subjects
from kubefox.senders import PLATFORM
from tests.control.api.client import Client
from tests.support.control_plane import Plane
from tests.support.nats import NatsServer

SERIES = 300


async def test_metrics_of_many_series_come_in_blocks(client: Client, collector: Collector) -> None:
    subject = subjects.figures_of(PLATFORM)
    collector.receive_figures(subject, figures_of_many_series(), "")

    blocks = [block async for block in collector.prometheus()]
    async with client.session.get(f"{client.url}/metrics") as answer:
        text = await answer.read()

    assert answer.headers["content-type"] == prometheus.MEDIA
    assert text.startswith(b"".join(blocks))
    assert text.count(b"kubefox_requests_total{") == SERIES
    assert len(blocks) > SERIES // 50
    assert all(BLOCK_BYTES <= len(block) < 2 * BLOCK_BYTES for block in blocks[:-1])


def figures_of_many_series() -> bytes:
    durations = Durations((1, *[0] * (BUCKETS - 1)), 1.0)
    series = (
        SeriesFigures(EventLabels("api", "h", "shop", f"v{number}"), {2: durations}, durations)
        for number in range(SERIES)
    )
    return msgspec.msgpack.encode(ProcessFigures("p1", "api", tuple(series), is_final=True))


async def test_metrics_without_nats_are_a_problem(
    client: Client, plane: Plane, own_nats_server: NatsServer
) -> None:
    await asyncio.to_thread(own_nats_server.kill)
    await plane.wait_disconnected()

    status, problem = await client.call("GET", "/metrics")

    assert (status, problem["code"]) == (503, "nats_unavailable")


async def test_metrics_that_cannot_be_completed_have_no_end(
    client: Client, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield b"# HELP kubefox_pods Pods by phase\n"
        raise ValueError("broken")

    monkeypatch.setattr(collector, "prometheus", broken)

    async with client.session.get(f"{client.url}/metrics") as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
