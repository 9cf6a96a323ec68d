"""The Deployments of a namespace, as the cluster reports them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import msgspec

from pods.kubernetes.api import open_api
from pods.kubernetes.cluster import Cluster
from pods.kubernetes.follow import Following, Meta


class AvailableStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The status of a Deployment."""

    available_replicas: int = 0


class AvailableDeployment(msgspec.Struct, frozen=True):
    """A Deployment."""

    metadata: Meta
    status: AvailableStatus = AvailableStatus()


class Availability:
    """Notes when there are so many Deployments, and when each has an available pod.

    Attributes:
        exist_s: Time (``time.monotonic``) at which ``count`` Deployments existed; None before.
        available_s: Time at which each of them had an available pod; None before.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._available: dict[str, bool] = {}
        self._is_done = asyncio.Event()
        self.exist_s: float | None = None
        self.available_s: float | None = None

    async def wait(self) -> None:
        """Return when all of them are available."""
        await self._is_done.wait()

    def on_deployment(self, found: AvailableDeployment) -> None:
        """Take over a new or changed Deployment."""
        self._available[found.metadata.name] = found.status.available_replicas > 0
        if self.exist_s is None and len(self._available) >= self._count:
            self.exist_s = time.monotonic()
        if not self._is_done.is_set() and sum(self._available.values()) >= self._count:
            self.available_s = time.monotonic()
            self._is_done.set()

    def on_deleted(self, found: AvailableDeployment) -> None:
        """Take over that a Deployment is gone."""
        self._available.pop(found.metadata.name, None)


@contextlib.asynccontextmanager
async def follow_availability(cluster: Cluster, count: int) -> AsyncIterator[Availability]:
    """Follow the Deployments of the cluster's namespace until the context ends."""
    found = Availability(count)
    path = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments"
    async with open_api(cluster) as api:
        following = Following(
            api, path, {}, AvailableDeployment, found.on_deployment, found.on_deleted
        )
        running = asyncio.create_task(following.run())
        try:
            yield found
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
