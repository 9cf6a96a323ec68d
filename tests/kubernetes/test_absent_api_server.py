"""An API server that is away under load: no request fails, and no pod is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes import binary
from tests.kubernetes.lab_cluster import LabCluster, open_lab
from tests.kubernetes.platform import COMPONENTS
from tests.kubernetes.shop import open_shop
from tests.support.nats import NatsServer

pytestmark = pytest.mark.timeout(900)

AWAY_S = 60
# By default, all nodes count as lost after 50 s without the API server, until they report again. No
# pod of them gets requests then.
FLAGS = {"controller-manager": ["--node-monitor-grace-period=300s"]}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabCluster]:
    """A cluster of its own, which takes no node for lost while its API server is away."""
    with open_lab(binary.path(), tmp_path, ("node-a", "node-b"), FLAGS) as opened:
        yield opened


@pytest.fixture
def namespace(lab: LabCluster) -> Iterator[str]:
    """A namespace of this cluster."""
    with lab.namespace() as name:
        yield name


async def test_an_absent_api_server_fails_no_request(
    lab: LabCluster, namespace: str, own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    folder = tmp_path / "platform"
    folder.mkdir()
    async with open_shop(lab, namespace, own_secured_nats_server, folder) as shop:
        platform = shop.platform
        before = {pod["metadata"]["name"] for pod in await platform.objects("pods", COMPONENTS)}

        async with shop.no_request_fails():
            await asyncio.to_thread(lab.control_plane.kill_api_server)
            try:
                await asyncio.sleep(AWAY_S)
            finally:
                await asyncio.to_thread(lab.control_plane.start_api_server)

        after = {pod["metadata"]["name"] for pod in await platform.objects("pods", COMPONENTS)}
    assert after == before
