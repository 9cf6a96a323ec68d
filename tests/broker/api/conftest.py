"""A control API with all that it works with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from broker.api.server import ControlApi, open_control_api
from broker.telemetry.collector import Collector, open_collector
from pods.logs import PodLogs, open_logs
from tests.broker.api.client import Client
from tests.support.control_plane import Plane


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[PodLogs]:
    async with open_logs(tmp_path / "logs") as logs:
        yield logs


@pytest.fixture
async def collector(plane: Plane) -> AsyncIterator[Collector]:
    async with open_collector(plane.bus, plane.control.board) as collector:
        yield collector


@pytest.fixture
async def api(plane: Plane, logs: PodLogs, collector: Collector) -> AsyncIterator[ControlApi]:
    async with open_control_api(
        plane.control,
        logs,
        collector,
        host="127.0.0.1",
        port=0,
        version="1.2.3",
        readiness={"nats": lambda: plane.bus.is_ready},
    ) as api:
        yield api


@pytest.fixture
async def client(api: ControlApi) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, api.url)
