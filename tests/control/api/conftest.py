"""A control API with its services, and a client."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from broker.events.dead_letters import DeadLetters, open_dead_letters
from broker.storage.token_store import TokenStore, open_token_store
from broker.telemetry.collector import Collector, open_collector
from control.api.server import ControlApi, open_control_api
from pods.logs import PodLogs, open_logs
from tests.control.api.client import Client, OpenApi
from tests.support.control_plane import Plane
from tests.support.owner import CREDENTIALS, open_access


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
async def tokens(plane: Plane) -> AsyncIterator[TokenStore]:
    async with open_token_store(plane.bus) as tokens:
        yield tokens


@pytest.fixture
def open_api(
    plane: Plane,
    logs: PodLogs,
    collector: Collector,
    dead_letters: DeadLetters,
    tokens: TokenStore,
    tmp_path: Path,
) -> OpenApi:
    """Return a function that opens the control API; the test sets its address."""
    return functools.partial(
        open_control_api,
        plane.control,
        logs,
        collector,
        dead_letters,
        tokens,
        access=open_access(tokens, tmp_path),
    )


@pytest.fixture
async def api(plane: Plane, open_api: OpenApi) -> AsyncIterator[ControlApi]:
    readiness = {"nats": lambda: plane.bus.is_ready}
    async with open_api(host="127.0.0.1", port=0, version="1.2.3", readiness=readiness) as api:
        yield api


@pytest.fixture
async def client(api: ControlApi) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(headers=CREDENTIALS) as session:
        yield Client(session, api.url)
