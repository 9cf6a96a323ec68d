"""The node itself: its object, its heartbeats, and the pods that the scheduler gives it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from pathlib import Path

import msgspec

from pods.kubernetes.api import STRATEGIC, Api, ApiError, Object
from pods.kubernetes.follow import Following, Meta
from tests.kubernetes.node_agent.container import Container, timestamp
from tests.kubernetes.node_agent.images import IMAGES, Images
from tests.kubernetes.node_agent.pod import PodRun
from tests.kubernetes.node_agent.server import log_routes, serve_node
from tests.kubernetes.node_agent.stable_names import stable_address
from tests.kubernetes.node_agent.streaming import place_routes, run_streaming

logger = logging.getLogger(__name__)

_BEAT_S = 5.0
_CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "250", "ephemeral-storage": "100Gi"}


class PodMeta(Meta, frozen=True, kw_only=True, rename="camel"):
    """The metadata of a pod.

    Attributes:
        namespace: Its namespace.
        deletion_grace_period_seconds: Its grace time, once it is being deleted.
    """

    namespace: str = ""
    deletion_grace_period_seconds: int = 0


class NodePod(msgspec.Struct, frozen=True):
    """A pod that the scheduler has given the node."""

    metadata: PodMeta
    spec: Object
    status: Object = {}

    def as_object(self) -> Object:
        """Return it as the API sends it, without what a node does not need."""
        meta = self.metadata
        names = {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid}
        texts = {"labels": meta.labels, "annotations": meta.annotations}
        return {"metadata": {**names, **texts}, "spec": self.spec, "status": {}}


class Node:
    """One node.

    Args:
        api: The API.
        name: Its name.
        number: Second number of the addresses of its pods.
        folder: For the files of its pods. Its images are in the folder ``images`` beside it.
        program: The binary of ``tests.kubernetes.binary``.
    """

    def __init__(self, api: Api, name: str, number: int, folder: Path, program: Path) -> None:
        self._api = api
        self._program = program
        self._name = name
        self._folder = folder
        self._images = Images(folder.parent / IMAGES)
        self._address = f"127.{number}.0.1"
        self._port = 0
        self._addresses = (f"127.{number}.{at // 250}.{at % 250 + 2}" for at in itertools.count())
        self._runs: dict[str, PodRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # The last changes of a pod may arrive after its end.
        self._ended: set[str] = set()
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        """Register, and run the pods until cancelled."""
        selectors = {"fieldSelector": f"spec.nodeName={self._name}"}
        pods = Following(
            self._api, "/api/v1/pods", selectors, NodePod, self._on_pod, self._on_deleted
        )
        routes = [*log_routes(self._find), *place_routes(self._find)]
        async with (
            serve_node(self._address, routes) as own_port,
            run_streaming(self._program, self._address, own_port) as self._port,
            self._group,
        ):
            await self._register()
            self._group.create_task(self._beat())
            self._group.create_task(pods.run())

    def _find(self, namespace: str, pod: str, container: str) -> Container | None:
        for run in self._runs.values():
            if run.name == (namespace, pod):
                return run.container(container)
        return None

    async def _register(self) -> None:
        labels = {"kubernetes.io/hostname": self._name, "kubernetes.io/os": "linux"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self._name, "labels": labels},
        }
        await self._api.apply(f"/api/v1/nodes/{self._name}", node)
        await self._report()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_S)
            try:
                await self._report()
            except ApiError as error:
                logger.info("the state of the node cannot be reported: %s", error)

    async def _report(self) -> None:
        now = timestamp(time.time())
        ready = {"type": "Ready", "status": "True", "reason": "AgentRuns", "lastHeartbeatTime": now}
        status = {
            "capacity": _CAPACITY,
            "allocatable": _CAPACITY,
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": self._address}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
        }
        await self._api.patch(f"/api/v1/nodes/{self._name}/status", {"status": status}, STRATEGIC)

    def _on_pod(self, pod: NodePod) -> None:
        uid = pod.metadata.uid
        run = self._runs.get(uid)
        if run is None:
            run = self._start(pod)
        else:
            run.see(pod.status)
        if pod.metadata.deletion_timestamp is not None and run is not None:
            run.delete(pod.metadata.deletion_grace_period_seconds)

    def _start(self, pod: NodePod) -> PodRun | None:
        uid = pod.metadata.uid
        if uid in self._ended:
            return None
        found = pod.as_object()
        address = stable_address(found) or next(self._addresses)
        run = self._runs[uid] = PodRun(self._api, found, address, self._folder / uid, self._images)
        self._tasks[uid] = self._group.create_task(self._run(uid, run))
        return run

    async def _run(self, uid: str, run: PodRun) -> None:
        try:
            await run.run()
        except Exception:
            logger.exception("pod %s fails on this node", uid)
        finally:
            self._ended.add(uid)
            del self._runs[uid], self._tasks[uid]

    def _on_deleted(self, pod: NodePod) -> None:
        """End the processes of a pod that was deleted without its grace time."""
        if task := self._tasks.get(pod.metadata.uid):
            task.cancel()
