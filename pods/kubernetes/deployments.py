"""Writes the Deployments of the workloads: at once, or again and again while the API is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from http import HTTPStatus

import msgspec

from broker.nats.credentials.login import encode_login
from pods.base import PodSpec
from pods.kubernetes import manifests
from pods.kubernetes.api import Api, ApiError, Object
from pods.kubernetes.cluster_pod import ClusterPod
from pods.kubernetes.follow import Meta
from pods.kubernetes.foreign_changes import ClusterDeployment
from pods.kubernetes.left_deployments import LeftDeployment, annotated
from pods.kubernetes.manifests import PodSettings
from pods.kubernetes.workload import Workload
from pods.logins import Logins

logger = logging.getLogger(__name__)

RETRY_S = 2.0
CLOSE_S = 5.0
"""How long the last changes may take when the driver closes."""

MANAGED = {
    "labelSelector": ",".join(f"{name}={value}" for name, value in manifests.MANAGED_BY.items())
}
"""Selects the objects of this driver."""

_KILL_GRACE_S = 1
# Kubernetes removes the pod with the lowest cost first.
_FIRST_TO_GO: Object = {
    "metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1000"}}
}


class _Found(msgspec.Struct, frozen=True):
    metadata: Meta


_decode = msgspec.json.Decoder(_Found).decode
_decode_deployment = msgspec.json.Decoder(ClusterDeployment).decode


class Deployments:
    """The Deployments, Secrets and pods of a namespace, for writing.

    Args:
        api: The API.
        namespace: Where they are.
        logins: Makes the first logins.
        settings: Of all pods.
        on_done: Called with a workload when what was to be done in the background is done.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        logins: Logins,
        settings: PodSettings,
        on_done: Callable[[Workload], None],
    ) -> None:
        self._api = api
        self._logins = logins
        self._settings = settings
        self._on_done = on_done
        self._core = f"/api/v1/namespaces/{namespace}"
        self._apps = f"/apis/apps/v1/namespaces/{namespace}"
        self._budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
        self._unsettled: set[Workload] = set()
        self._unused: set[Workload] = set()
        self._ending: dict[str, tuple[ClusterPod, int]] = {}
        self._work = asyncio.Event()
        self._changing = asyncio.Lock()

    @property
    def deployments(self) -> str:
        """Path of the Deployments."""
        return f"{self._apps}/deployments"

    @property
    def pods(self) -> str:
        """Path of the pods."""
        return f"{self._core}/pods"

    async def settle(self, workload: Workload) -> None:
        """Give the Deployment of a workload as many pods as are wanted.

        Raises:
            ApiError: The API refuses it, or is away.
        """
        async with workload.lock:
            spec, wanted = workload.spec, workload.wanted
            if spec is None or wanted == workload.applied:
                return
            if not wanted and not workload.generation:
                await self._stop_pods_of_before(workload)
                return
            if not workload.applied:
                # Others may have deleted these objects while no pod needed them.
                workload.has_budget = False
                login = encode_login(self._logins.log_in_first(spec))
                secret = manifests.secret(spec.version, login)
                await self._api.apply(f"{self._core}/secrets/{workload.name}", secret)
            # More pods may be wanted by now: their Deployment gets all of them, see below.
            if workload.wanted > 1 and not workload.has_budget:
                # The only pod of a version may be evicted in any case.
                budget = manifests.disruption_budget(spec.version)
                await self._api.apply(f"{self._budgets}/{workload.name}", budget)
                workload.has_budget = True
            # Until the answer is here, it is not known. Others may be wanted by now: a process that
            # takes over several pods must not give their Deployment fewer.
            workload.applied, wanted = None, workload.wanted
            manifest = self._manifest(spec, wanted)
            applied = await self._api.apply(f"{self.deployments}/{workload.name}", manifest)
            workload.generation = _decode_deployment(applied).metadata.generation
            workload.applied = wanted

    def take_over(self, workload: Workload, left: LeftDeployment) -> None:
        """Keep the pods of an earlier process, and their Deployment unless it is out of date."""
        workload.take_over(left.replicas)
        if workload.spec is None:
            return
        self._logins.use_salt(workload.spec.version, left.salt)
        if left.is_up_to_date(self._manifest(workload.spec, left.replicas)):
            workload.applied, workload.generation = left.replicas, left.generation
            # It was written before the second pod.
            workload.has_budget = left.replicas > 1

    def _manifest(self, spec: PodSpec, replicas: int) -> Object:
        logins = self._logins
        manifest = manifests.deployment(spec, replicas, self._settings)
        return annotated(manifest, logins.issuer, logins.salt(spec.version))

    async def _stop_pods_of_before(self, workload: Workload) -> None:
        """Give the Deployment no pods that an earlier process has made, if there is one."""
        path = f"{self.deployments}/{workload.name}"
        try:
            written = await self._api.patch(path, {"spec": {"replicas": 0}})
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        else:
            workload.generation = _decode_deployment(written).metadata.generation
        workload.applied = 0

    def rewrite_soon(self, workload: Workload) -> None:
        """Write all objects of a workload again, in the background."""
        workload.forget_written()
        self.settle_soon(workload)

    def settle_soon(self, workload: Workload) -> None:
        """Do so in the background, as soon as the API allows it."""
        workload.is_pending = True
        self._unsettled.add(workload)
        self._work.set()

    def delete_soon(self, workload: Workload) -> None:
        """Delete the objects of a workload in the background, unless it wants pods by then."""
        workload.is_pending = True
        self._unused.add(workload)
        self._work.set()

    def end_soon(self, pod: ClusterPod, grace_s: int = _KILL_GRACE_S) -> None:
        """Delete a pod in the background; Kubernetes replaces it, if its Deployment wants that."""
        waiting = self._ending.get(pod.metadata.uid)
        # One that is to end without its node is not to wait for that node after all.
        if waiting is None or grace_s < waiting[1]:
            self._ending[pod.metadata.uid] = (pod, grace_s)
            self._work.set()

    async def make_smaller_by(self, workload: Workload, pod: ClusterPod) -> None:
        """End one pod of a workload that wants fewer now; try until the API has accepted it."""
        path = f"{self.pods}/{pod.metadata.name}"
        while True:
            try:
                # Else Kubernetes may choose another pod before this one is deleted.
                await self._prefer_to_end(path)
                await self.settle(workload)
                await self._api.delete(path, uid=pod.metadata.uid)
            except ApiError as error:
                logger.warning("pod %s cannot be ended, retrying: %s", pod.metadata.name, error)
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _prefer_to_end(self, path: str) -> None:
        try:
            await self._api.patch(path, _FIRST_TO_GO)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    async def delete(self, workload: Workload) -> None:
        """Delete the Deployment and the Secret of a workload that wants no pods.

        Raises:
            ApiError: The API refuses it, or is away.
        """
        async with workload.lock:
            if not workload.wanted:
                workload.forget_written()
                workload.generation = 0
                await self._delete(workload.name)

    async def names(self, *, without: frozenset[str]) -> list[str]:
        """Return the names of the Deployments whose hashes are not in ``without``.

        Raises:
            ApiError: The API refuses it, or is away.
        """
        found = await self._api.list(self.deployments, MANAGED)
        metadata = [_decode(item).metadata for item in found.items]
        return [
            meta.name for meta in metadata if meta.labels.get(manifests.HASH_LABEL) not in without
        ]

    async def run(self) -> None:
        """Do what was asked for in the background, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                async with self._changing:
                    await self._change_all()
            except ApiError as error:
                logger.warning("pods of the cluster cannot be changed, retrying: %s", error)
                await asyncio.sleep(RETRY_S)
                self._work.set()

    async def close(self) -> None:
        """Do what is still to be done, if the API is there; ``run`` does nothing afterwards."""
        try:
            async with asyncio.timeout(CLOSE_S):
                # It stays held.
                await self._changing.acquire()
                await self._change_all()
        except (ApiError, TimeoutError) as error:
            logger.warning("pods of the cluster are left as they are: %r", error)

    async def _change_all(self) -> None:
        """Try each change once.

        Raises:
            ApiError: The first one; a refused change does not keep the others waiting.
        """
        errors = []
        for change in self._changes():
            try:
                await change()
            except ApiError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _changes(self) -> Iterator[Callable[[], Awaitable[None]]]:
        for workload in tuple(self._unsettled):
            yield partial(self._finish, workload, self._unsettled, self.settle)
        for workload in tuple(self._unused):
            yield partial(self._finish, workload, self._unused, self.delete)
        for uid in tuple(self._ending):
            yield partial(self._end_pod, uid)

    async def _end_pod(self, uid: str) -> None:
        entry = self._ending[uid]
        pod, grace_s = entry
        await self._api.delete(f"{self.pods}/{pod.metadata.name}", uid=uid, grace_s=grace_s)
        # Meanwhile, the pod may have become one that must end without its node.
        if self._ending.get(uid) is entry:
            del self._ending[uid]

    async def _finish(
        self,
        workload: Workload,
        pending: set[Workload],
        work: Callable[[Workload], Awaitable[None]],
    ) -> None:
        # Before the work: another change may come while it is done.
        pending.discard(workload)
        try:
            await work(workload)
        except BaseException:
            pending.add(workload)
            raise
        workload.is_pending = workload in self._unsettled or workload in self._unused
        if not workload.is_pending:
            self._on_done(workload)

    async def _delete(self, name: str) -> None:
        await self._api.delete(f"{self.deployments}/{name}")
        await self._api.delete(f"{self._core}/secrets/{name}")
        await self._api.delete(f"{self._budgets}/{name}")
