"""The Kubernetes driver: the pods of a component version are those of one Deployment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Self

from broker.nats.bus import Bus
from broker.runtime.background import run_in_background
from kubefox.distill import Version
from kubefox.errors import InternalError
from pods.base import HasReplica, PodSpec, has_no_replica
from pods.bundle_folders import FetchBundle
from pods.kubernetes.api import ApiError, open_api
from pods.kubernetes.bundle_files import BundleFiles
from pods.kubernetes.cluster import Cluster
from pods.kubernetes.cluster_logs import ClusterLogs
from pods.kubernetes.cluster_pod import ClusterPod, creation_fault
from pods.kubernetes.deployments import MANAGED, Deployments
from pods.kubernetes.follow import Following
from pods.kubernetes.foreign_changes import ClusterDeployment, ForeignChanges
from pods.kubernetes.left_deployments import LeftDeployment
from pods.kubernetes.manifests import WORKLOAD_LABEL, PodSettings, version_of, workload_name
from pods.kubernetes.own_images import check_image
from pods.kubernetes.pace import Pace
from pods.kubernetes.replica import Replica
from pods.kubernetes.start_server import serve_starts
from pods.kubernetes.workload import Workload
from pods.logins import Logins
from pods.logs import PodLogs

logger = logging.getLogger(__name__)

LIST_S = 10.0
"""How long pods wait until the Deployments of an earlier process are known."""

WRITES_PER_S, BURST = 50.0, 100
"""Rate of the driver's writes, and how many may be made at once after a pause."""

NODE_LOST_S = 60.0
"""How much longer than its grace time the end of a pod may take; then its node counts as lost."""


class KubernetesDriver:
    """Runs pods in a namespace of a cluster; a ``pods.base.PodDriver``.

    Args:
        find_cluster: Finds the cluster; it may read files.
        bus: Answers the pods that start.
        data_dir: Bundles are kept in its folder ``packed-bundles``.
        logins: Makes the logins of pods to NATS.
        fetch: Returns the bundle of a hash.
        logs: Reads the output of the pods from this driver, while that is open.
        settings: Of all pods.
    """

    def __init__(
        self,
        *,
        find_cluster: Callable[[], Cluster],
        bus: Bus,
        data_dir: Path,
        logins: Logins,
        fetch: FetchBundle,
        logs: PodLogs,
        settings: PodSettings,
    ) -> None:
        self._find_cluster = find_cluster
        self._bus = bus
        self._logins = logins
        self._settings = settings
        self._pod_logs = logs
        self._bundles = BundleFiles(data_dir / "packed-bundles", fetch)
        self._workloads: dict[str, Workload] = {}
        self._senders: dict[str, Workload] = {}
        # Deployments of an earlier process, by the versions that have not run here yet.
        self._left: dict[Version, LeftDeployment] = {}
        self._is_detached = False
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        enter = self._stack.enter_async_context
        cluster = await asyncio.to_thread(self._find_cluster)
        api = await enter(open_api(cluster, Pace(WRITES_PER_S, BURST)))
        self._deployments = Deployments(
            api, cluster.namespace, self._logins, self._settings, self._forget_unused
        )
        pods = Following(
            api, self._deployments.pods, MANAGED, ClusterPod, self._on_pod, self._on_deleted
        )
        self._logs = ClusterLogs(api, self._deployments.pods, pods.listed, self._id_of)
        self._stack.push_async_callback(self._logs.close)
        self._stack.enter_context(self._pod_logs.read_from(self._logs))
        foreign = ForeignChanges(self._workloads.get, self._deployments.settle_soon)
        self._following = Following(
            api,
            self._deployments.deployments,
            MANAGED,
            ClusterDeployment,
            partial(self._on_deployment, foreign),
            partial(self._on_deployment_deleted, foreign),
        )
        self._stack.callback(foreign.close)
        await enter(serve_starts(self._bus, self._find_spec, self._logins, self._bundles))
        for work, name in (
            (pods.run(), "following the pods of the cluster"),
            (self._following.run(), "following the Deployments of the cluster"),
            (self._deployments.run(), "changing the pods of the cluster"),
        ):
            await enter(run_in_background(work, name))
        self._stack.push_async_callback(self._deployments.close)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._stack.aclose()

    def detach(self) -> None:
        """Leave all pods as they are from now on: this process ends, and another one goes on."""
        self._is_detached = True

    @contextlib.asynccontextmanager
    async def run(
        self, spec: PodSpec, has_replica: HasReplica = has_no_replica
    ) -> AsyncIterator[Replica]:
        """Run a pod for the length of the context; see ``PodDriver.run``."""
        await self._store(spec)
        replica = Replica(spec, self._settings.grace_s, self._kill)
        workload = self._workload(workload_name(spec.version))
        workload.spec = spec
        self._senders[spec.sender.tokens] = workload
        workload.add(replica)
        if replica.pod is not None:
            # It has another id now.
            self._logs.on_pod(replica.pod)
        try:
            await self._settle(workload, replica)
            yield replica
        finally:
            if self._is_detached:
                replica.leave_running()
            else:
                await self._leave(workload, replica)

    async def left_pods(self) -> Mapping[Version, int]:
        """Return the pods of an earlier process; see ``PodDriver.left_pods``."""
        try:
            await self._wait_listed()
        except ApiError as error:
            logger.warning("the pods of an earlier process are not known: %s", error)
        return {version: left.replicas for version, left in self._left.items() if left.replicas}

    def pods_of(self, version: Version) -> frozenset[str]:
        """Return the names of all pods of a version; see ``PodDriver.pods_of``."""
        workload = self._workloads.get(workload_name(version))
        return workload.pods if workload else frozenset()

    def retire(self, version: Version) -> None:
        """Note that a version is not in use any more; see ``PodDriver.retire``."""
        if left := self._left.pop(version, None):
            self._logins.use_salt(version, left.salt)
        self._logins.retire(version)
        workload = self._workload(workload_name(version))
        workload.end_vacancies()
        self._deployments.delete_soon(workload)

    async def collect_garbage(self, used_hashes: frozenset[str]) -> None:
        """Remove what is kept for unused versions; see ``PodDriver.collect_garbage``."""
        await self._bundles.keep_only(used_hashes)
        try:
            unused = await self._deployments.names(without=used_hashes)
        except ApiError as error:
            logger.warning("unused Deployments cannot be found: %s", error)
            return
        for name in unused:
            self._deployments.delete_soon(self._workload(name))

    async def _store(self, spec: PodSpec) -> None:
        """Fetch the code of a pod, and check the image that it names."""
        if spec.runtime.image:
            check_image(spec.runtime.image, self._settings.image_repositories)
        await self._bundles.store(spec.hash)
        if spec.runtime.image:
            # The pod checks its code with a program of this image, so it cannot check the image.
            await self._bundles.check(spec.hash, spec.runtime)

    async def _settle(self, workload: Workload, replica: Replica) -> None:
        try:
            await self._wait_listed()
            if left := self._left.pop(replica.version, None):
                self._deployments.take_over(workload, left)
            await self._deployments.settle(workload)
        except ApiError as error:
            # It is asked for again soon. The pods of an earlier process must not end meanwhile.
            replica.abandon()
            raise InternalError(f"Deployment {workload.name} cannot be applied: {error}") from error

    async def _leave(self, workload: Workload, replica: Replica) -> None:
        """End a replica's pod, if it lives; its place stays vacant if the pod has ended itself."""
        if replica.is_gone:
            workload.vacate(replica)
            if replica.was_killed:
                # Its pod did not start. Others may have deleted the Secret that it needs.
                self._deployments.rewrite_soon(workload)
            return
        replica.stop()
        workload.begin_leaving(replica)
        try:
            if replica.pod is not None:
                await self._deployments.make_smaller_by(workload, replica.pod)
                await self._wait_deleted(replica)
        except asyncio.CancelledError:
            replica.kill()
            raise
        finally:
            workload.end_leaving(replica)
            self._deployments.settle_soon(workload)
            self._forget_unused(workload)

    async def _wait_deleted(self, replica: Replica) -> None:
        try:
            async with asyncio.timeout(self._settings.grace_s + NODE_LOST_S):
                await replica.wait_deleted()
        except TimeoutError:
            logger.warning("pod %s does not end: its node seems to be lost", replica.name)
            if replica.pod is not None:
                self._deployments.end_soon(replica.pod, 0)
            await replica.wait_deleted()

    def _kill(self, pod: ClusterPod) -> None:
        """End a pod with the least grace time, and without its node if that does not end it."""
        self._deployments.end_soon(pod)
        loop = asyncio.get_running_loop()
        loop.call_later(NODE_LOST_S, self._deployments.end_soon, pod, 0)

    async def _wait_listed(self) -> None:
        """Wait until the Deployments of an earlier process are known, for ``LIST_S`` at most."""
        try:
            async with asyncio.timeout(LIST_S):
                await self._following.listed.wait()
        except TimeoutError as error:
            fault = self._following.fault or "the Deployments are not listed yet"
            raise ApiError(0, fault) from error

    def _on_deployment(self, foreign: ForeignChanges, found: ClusterDeployment) -> None:
        left, version = LeftDeployment(found), version_of(found.metadata.labels)
        if not self._following.listed.is_set() or version in self._left:
            self._left[version] = left
        if workload := self._workloads.get(found.metadata.name):
            workload.on_creation_fault(creation_fault(found.status.conditions))
        foreign.on_deployment(found)

    def _on_deployment_deleted(self, foreign: ForeignChanges, found: ClusterDeployment) -> None:
        self._left.pop(version_of(found.metadata.labels), None)
        foreign.on_deleted(found)

    def _workload(self, name: str) -> Workload:
        workload = self._workloads.get(name)
        if workload is None:
            workload = self._workloads[name] = Workload(name, self._deployments.settle_soon)
        return workload

    def _forget_unused(self, workload: Workload) -> None:
        if workload.is_unused:
            self._workloads.pop(workload.name, None)
            if workload.spec is not None:
                self._senders.pop(workload.spec.sender.tokens, None)

    def _find_spec(self, sender: str) -> PodSpec | None:
        workload = self._senders.get(sender)
        return workload.spec if workload is not None and workload.wanted else None

    def _on_pod(self, pod: ClusterPod) -> None:
        if name := pod.metadata.labels.get(WORKLOAD_LABEL):
            self._workload(name).on_pod(pod)
        self._logs.on_pod(pod)

    def _on_deleted(self, pod: ClusterPod) -> None:
        if workload := self._workloads.get(pod.metadata.labels.get(WORKLOAD_LABEL, "")):
            workload.on_deleted(pod)
            self._forget_unused(workload)
        self._logs.on_deleted(pod)

    def _id_of(self, pod: ClusterPod) -> str:
        workload = self._workloads.get(pod.metadata.labels.get(WORKLOAD_LABEL, ""))
        return pod.metadata.name if workload is None else workload.id_of(pod)
