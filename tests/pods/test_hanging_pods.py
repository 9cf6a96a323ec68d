"""A pod of the kit that hangs, under a reconciler: real processes, stopped as the kernel stops."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from model.errors import ComponentGone
from model.pod import PodPhase
from pods.local import POD_COMMAND
from tests.pods.platform import Platform, open_platform
from tests.pods.test_reconciler import KIT_COMPONENT, asks_for_its_view
from tests.support.nats import NatsServer


@pytest.fixture
async def platform(own_nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(own_nats_server.url, tmp_path / "data") as opened:
        yield opened


async def test_a_stopped_pod_is_killed_told_to_requesters_and_started_again(
    platform: Platform,
) -> None:
    api = await platform.version(KIT_COMPONENT)
    async with platform.reconciling(command=POD_COMMAND, liveness_s=1):
        await platform.deploy("v1", api)
        (before,) = await platform.wait_ready(api)
        assert before.pid

        os.kill(before.pid, signal.SIGSTOP)
        with pytest.raises(ComponentGone):
            await platform.bus.request(api.subject, b"", timeout_s=30)

        (after,) = await platform.wait_pods(
            lambda statuses: statuses[0].phase is PodPhase.READY and statuses[0].restarts == 1
        )
        assert after.pid != before.pid
        assert await asks_for_its_view(platform, api)
