"""A reconciler with its dependencies; no pod outlives its test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pods.guardian import GUARDIAN
from tests.pods.platform import Platform, open_platform
from tests.pods.processes import children
from tests.support.nats import NatsServer


@pytest.fixture
async def platform(own_nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Platform]:
    others = children()
    async with open_platform(own_nats_server.url, tmp_path / "data") as opened:
        yield opened
    assert children() <= others | {own_nats_server.pid, GUARDIAN.pid}
