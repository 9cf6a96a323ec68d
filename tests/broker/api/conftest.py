"""A control API with all that it works with."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from broker.api.server import ControlApi, open_control_api
from broker.dead_letters import DeadLetters, open_dead_letters
from broker.telemetry.collector import Collector, open_collector
from pods.logs import PodLogs, open_logs
from tests.broker.api.client import Client, OpenApi
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
async def dead_letters(plane: Plane) -> DeadLetters:
    return await open_dead_letters(plane.bus)


@pytest.fixture
def open_api(
    plane: Plane, logs: PodLogs, collector: Collector, dead_letters: DeadLetters
) -> OpenApi:
    """Return what opens the control API; where it listens, and the rest, is up to the test."""
    return functools.partial(open_control_api, plane.control, logs, collector, dead_letters)


@pytest.fixture
async def api(plane: Plane, open_api: OpenApi) -> AsyncIterator[ControlApi]:
    readiness = {"nats": lambda: plane.bus.is_ready}
    async with open_api(host="127.0.0.1", port=0, version="1.2.3", readiness=readiness) as api:
        yield api


@pytest.fixture
async def client(api: ControlApi) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, api.url)
