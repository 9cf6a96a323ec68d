"""An empty kit, and pods on a nats-server of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fox import Kit
from tests.fox.kit.pods import Pods
from tests.support.data_plane import DataPlane, open_data_plane
from tests.support.nats import NatsServer


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[DataPlane]:
    async with open_data_plane(own_nats_server.url) as plane:
        await plane.virtual_environment("team-a")
        yield plane


@pytest.fixture
async def pods(own_nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Pods]:
    pods = Pods(own_nats_server.url, tmp_path / "bundle")
    yield pods
    await pods.end()
