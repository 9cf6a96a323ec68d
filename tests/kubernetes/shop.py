"""The Order App under load on a platform of the lab."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from examples.demo.context import DemoContext
from examples.demo.load import Load, visitors
from examples.demo.narrator import Narrator
from examples.demo.page import Browser
from examples.order_app import ENVIRONMENTS, build
from tests.kubernetes.chart import Values
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.platform import ClusterPlatform, is_ready, merged, open_platform
from tests.support.nats import NatsServer

PARTS = ("control", "http", "adapters", "pods")
TEAM = "team-a"
REPOSITORY = "order-app"
"""Folder of the app, in that of the platform."""
REQUESTS = 100
PODS = 6
MOST_LOG = 4_000
"""Characters of a log that a failed assertion shows."""
# Each component has a pod on both nodes.
TWO_PODS: Values = {"pods": {"settings": {"FOX_POD_MIN_REPLICAS": 2, "FOX_POD_MAX_REPLICAS": 2}}}


Condition = Callable[[list[dict[str, Any]]], bool]


class Shop:
    """The Order App in a cluster, with two pods of each of its components.

    Attributes:
        platform: The platform.
        browser: For its Service.
    """

    def __init__(self, platform: ClusterPlatform, browser: Browser) -> None:
        self.platform = platform
        self.browser = browser

    async def wait_pods(self, condition: Condition) -> list[dict[str, Any]]:
        """Return the pods of components as soon as all are ready and ``condition`` holds."""
        while True:
            pods = await self.platform.objects("pods")
            if len(pods) == PODS and all(map(is_ready, pods)) and condition(pods):
                return pods
            await asyncio.sleep(0.5)

    async def wait_parts(self, node: str) -> None:
        """Return when each part of the platform has two ready pods, both of them on this node."""
        for part in PARTS:
            while True:
                ready = [pod for pod in await self.platform.pods_of(part) if is_ready(pod)]
                if [pod["spec"]["nodeName"] for pod in ready] == [node, node]:
                    break
                await asyncio.sleep(0.5)

    @contextlib.asynccontextmanager
    async def no_request_fails(self) -> AsyncIterator[Load]:
        """Send requests while the context lasts, and some before and after its body."""
        async with visitors(self.browser, TEAM) as load:
            await load.wait_more(REQUESTS)
            yield load
            await load.wait_more(REQUESTS)
        failed = [(page.status, page.text[:300]) for page in load.failed[:5]]
        assert not load.failed, (failed, await self.warnings())

    async def warnings(self) -> list[str]:
        """Return the latest warnings and tracebacks of the parts that requests pass."""
        pods = [pod for role in ("http", "adapters") for pod in await self.platform.pods_of(role)]
        logs = await asyncio.to_thread(lambda: [self.platform.log_of(pod) for pod in pods])
        return [log[-MOST_LOG:] for log in logs]


@contextlib.asynccontextmanager
async def open_shop(
    cluster: LabCluster,
    namespace: str,
    nats: NatsServer | Path,
    folder: Path,
    values: Values | None = None,
) -> AsyncIterator[Shop]:
    """Run a platform that serves version 1 of the Order App, until the context ends."""
    repository = folder / REPOSITORY
    build(repository)
    values = merged(TWO_PODS, values or {})
    async with (
        open_platform(cluster, namespace, nats, folder, values) as platform,
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
        shop = Shop(platform, browser)
        await shop.wait_pods(lambda _pods: True)
        yield shop
