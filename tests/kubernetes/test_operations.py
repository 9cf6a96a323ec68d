"""What operators do to a platform in a cluster, under load: no request fails."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from examples.demo.context import DemoContext
from examples.demo.load import Load, visitors
from examples.demo.narrator import Narrator
from examples.demo.page import Browser
from examples.order_app import ENVIRONMENTS, build
from tests.kubernetes.chart import Values
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.platform import COMPONENTS, ClusterPlatform, is_ready, open_platform
from tests.support.nats import NatsServer

pytestmark = pytest.mark.timeout(900)

PARTS = ("control", "http", "adapters", "pods")
TEAM = "team-a"
REQUESTS = 100
AWAY_S = 60
# Each component has a pod on both nodes.
TWO_PODS: Values = {"pods": {"settings": {"FOX_POD_MIN_REPLICAS": 2, "FOX_POD_MAX_REPLICAS": 2}}}


@pytest.fixture
async def shop(
    cluster: LabCluster, namespace: str, own_secured_nats_server: NatsServer, tmp_path: Path
) -> AsyncIterator[tuple[ClusterPlatform, Browser]]:
    """A platform that serves the Order App, with two pods of each component."""
    repository = tmp_path / "order-app"
    build(repository)
    async with (
        open_platform(cluster, namespace, own_secured_nats_server, tmp_path, TWO_PODS) as platform,
        Browser(platform.http_url) as browser,
    ):
        demo = DemoContext(
            narrator=Narrator(Console(file=io.StringIO())),
            platform=platform,
            browser=browser,
            repository=repository,
        )
        await demo.fox("apply", "-f", ENVIRONMENTS)
        await demo.deploy("v1")
        await demo.release("v1", TEAM)
        await wait_components(platform, lambda pods: len(pods) == 6 and all(map(is_ready, pods)))
        yield platform, browser


async def wait_components(platform: ClusterPlatform, condition: Any) -> list[dict[str, Any]]:
    """Return the pods of components as soon as ``condition`` holds for them."""
    while not condition(pods := await platform.objects("pods")):
        await asyncio.sleep(0.5)
    return pods


@contextlib.asynccontextmanager
async def no_request_fails(browser: Browser) -> AsyncIterator[Load]:
    """Send requests while the context lasts, and some before and after its body."""
    async with visitors(browser, TEAM) as load:
        await load.wait_more(REQUESTS)
        yield load
        await load.wait_more(REQUESTS)
    assert not load.failed, [(page.status, page.text[:300]) for page in load.failed[:5]]


def image_of(pod: dict[str, Any]) -> str:
    (container,) = pod["spec"]["containers"]
    return str(container["image"])


async def test_an_upgrade_of_every_part_fails_no_request(
    shop: tuple[ClusterPlatform, Browser],
) -> None:
    platform, browser = shop
    before = {part: await platform.pods_of(part) for part in PARTS}

    async with no_request_fails(browser):
        await platform.install({"image": {"tag": "next"}})
        pods = await wait_components(
            platform,
            lambda pods: (
                len(pods) == 6
                and all(map(is_ready, pods))
                and {image_of(pod) for pod in pods} == {"lab:next"}
            ),
        )

    for part in PARTS:
        after = await platform.pods_of(part)
        assert {image_of(pod) for pod in after} == {"lab:next"}
        assert len(after) == len(before[part]) == 2
    assert len(await platform.objects("deployments")) == 3
    assert len(pods) == 6


async def test_a_drained_node_fails_no_request(
    shop: tuple[ClusterPlatform, Browser], cluster: LabCluster
) -> None:
    platform, browser = shop
    node = "node-a"

    try:
        async with no_request_fails(browser):
            await asyncio.to_thread(cluster.kubectl, "cordon", node)
            await asyncio.to_thread(
                cluster.kubectl,
                *("drain", node, "--delete-emptydir-data", "--ignore-daemonsets", "--force"),
            )
            pods = await wait_components(
                platform, lambda pods: len(pods) == 6 and all(map(is_ready, pods))
            )
    finally:
        await asyncio.to_thread(cluster.kubectl, "uncordon", node)

    everything = [*pods, *[pod for part in PARTS for pod in await platform.pods_of(part)]]
    assert {pod["spec"]["nodeName"] for pod in everything} == {"node-b"}


async def test_an_absent_api_server_fails_no_request(
    shop: tuple[ClusterPlatform, Browser], cluster: LabCluster
) -> None:
    platform, browser = shop
    before = {pod["metadata"]["name"] for pod in await platform.objects("pods", COMPONENTS)}

    async with no_request_fails(browser):
        await asyncio.to_thread(cluster.control_plane.kill_api_server)
        try:
            await asyncio.sleep(AWAY_S)
        finally:
            await asyncio.to_thread(cluster.control_plane.start_api_server)

    after = {pod["metadata"]["name"] for pod in await platform.objects("pods", COMPONENTS)}
    assert after == before
