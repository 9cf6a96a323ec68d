"""Nodes that run nothing: each pod that the scheduler gives them is ready a little later.

``python -m benchmarks.kubernetes.nodes KUBECONFIG COUNT`` runs so many nodes until SIGTERM. They
stand in for kubelets: a real API server, scheduler and controllers see nodes, heartbeats, and pods
that become Running and Ready, or are gone after their deletion.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Iterable
from itertools import count
from pathlib import Path

import msgspec

from pods.kubernetes.api import STRATEGIC, Api, ApiError, Object, open_api
from pods.kubernetes.cluster import read_kubeconfig
from pods.kubernetes.follow import Following, Meta
from tests.kubernetes.node_agent.container import timestamp

logger = logging.getLogger(__name__)

BATCH_S = 0.25
"""Pods that arrive within this time are reported together."""

_BEAT_S = 10.0
_AT_ONCE = 8
_CAPACITY = {"cpu": "64", "memory": "512Gi", "pods": "1000", "ephemeral-storage": "1Ti"}
_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")


class BoundMeta(Meta, frozen=True, kw_only=True, rename="camel"):
    """The metadata of a pod.

    Attributes:
        namespace: Its namespace.
    """

    namespace: str = ""


class Container(msgspec.Struct, frozen=True):
    """A container of a pod."""

    name: str
    image: str = ""


class BoundSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The spec of a pod.

    Attributes:
        containers: Its containers.
        node_name: Node that the scheduler has given it; empty before.
    """

    containers: tuple[Container, ...] = ()
    node_name: str = ""


class BoundStatus(msgspec.Struct, frozen=True):
    """The status of a pod."""

    phase: str = ""


class BoundPod(msgspec.Struct, frozen=True):
    """A pod of any namespace."""

    metadata: BoundMeta
    spec: BoundSpec
    status: BoundStatus = BoundStatus()

    @property
    def path(self) -> str:
        """Its path in the API."""
        return f"/api/v1/namespaces/{self.metadata.namespace}/pods/{self.metadata.name}"


class EmptyNodes:
    """The nodes.

    Args:
        api: The API.
        names: Their names.
    """

    def __init__(self, api: Api, names: Iterable[str]) -> None:
        self._api = api
        self._names = tuple(names)
        self._changed: dict[str, BoundPod] = {}
        self._addresses = count(1)

    async def run(self) -> None:
        """Register, and report pods until cancelled."""
        for name in self._names:
            labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
            meta = {"name": name, "labels": labels}
            node = {"apiVersion": "v1", "kind": "Node", "metadata": meta}
            await self._api.apply(f"/api/v1/nodes/{name}", node)
        pods = Following(self._api, "/api/v1/pods", {}, BoundPod, self._on_pod, self._on_deleted)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(pods.run())
            group.create_task(self._report())

    def _on_pod(self, pod: BoundPod) -> None:
        is_leaving = pod.metadata.deletion_timestamp is not None
        if pod.spec.node_name in self._names and (is_leaving or pod.status.phase != "Running"):
            self._changed[pod.metadata.uid] = pod

    def _on_deleted(self, pod: BoundPod) -> None:
        self._changed.pop(pod.metadata.uid, None)

    async def _beat(self) -> None:
        while True:
            now = timestamp(time.time())
            ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": now}
            status = {"capacity": _CAPACITY, "allocatable": _CAPACITY, "conditions": [ready]}
            for name in self._names:
                await self._try(
                    self._api.patch(f"/api/v1/nodes/{name}/status", {"status": status}, STRATEGIC)
                )
            await asyncio.sleep(_BEAT_S)

    async def _report(self) -> None:
        slots = asyncio.Semaphore(_AT_ONCE)
        while True:
            await asyncio.sleep(BATCH_S)
            changed, self._changed = self._changed, {}
            await asyncio.gather(*(self._report_one(pod, slots) for pod in changed.values()))

    async def _report_one(self, pod: BoundPod, slots: asyncio.Semaphore) -> None:
        uid = pod.metadata.uid
        async with slots:
            if pod.metadata.deletion_timestamp is not None:
                await self._try(self._api.delete(pod.path, uid=uid, grace_s=0))
                return
            status = _running(pod, next(self._addresses))
            changes = {"metadata": {"uid": uid}, "status": status}
            await self._try(self._api.patch(f"{pod.path}/status", changes, STRATEGIC))

    async def _try(self, call: Awaitable[object]) -> None:
        try:
            await call
        except ApiError as error:
            logger.warning("a status cannot be reported: %s", error)


def _running(pod: BoundPod, number: int) -> Object:
    now = timestamp(time.time())
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return {
        "phase": "Running",
        "startTime": now,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": name, "status": "True"} for name in _CONDITIONS],
        "containerStatuses": [
            {
                "name": each.name,
                "image": each.image,
                "imageID": "",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            }
            for each in pod.spec.containers
        ],
    }


async def run(kubeconfig: Path, count: int) -> None:
    """Run nodes until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with open_api(read_kubeconfig(kubeconfig)) as api:
        nodes = EmptyNodes(api, (f"node-{number}" for number in range(count)))
        serving = asyncio.create_task(nodes.run())
        stopping = asyncio.create_task(stopped.wait())
        print("nodes are registered", flush=True)
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
