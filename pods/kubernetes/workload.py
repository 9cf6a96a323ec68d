"""The Deployment of one component version, and its replicas.

Each replica is one that a supervisor has asked for. The Deployment has as many pods. Kubernetes
replaces a pod that is lost, and starts a container again that has ended; its supervisor asks for a
replica again a little later and gets that pod. Until then the place is kept vacant, so that the
Deployment is not scaled down and up again. So are the places of the pods of an earlier process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import chain

from pods.base import PodSpec
from pods.kubernetes.cluster_pod import ClusterPod
from pods.kubernetes.replica import Replica

VACANT_S = 60.0
"""How long the place of a pod without a replica is kept: longer than any back-off."""


class Workload:
    """The replicas of one version, and the pods of its Deployment.

    Args:
        name: Name of the Deployment.
        on_vacancy_over: Called with this when the Deployment may have fewer pods than before.
        vacant_s: How long a place is kept.

    Attributes:
        name: Name of the Deployment.
        spec: A pod of the version; None while only pods of an earlier process are known.
        applied: How many pods the Deployment has been given; None if that is not known.
        has_budget: Whether its disruption budget has been written.
        generation: That of the Deployment after its last write; 0 before the first one.
        is_pending: Whether something is still to be done with its Deployment.
        lock: Held while the Deployment is written.
    """

    def __init__(
        self,
        name: str,
        on_vacancy_over: Callable[[Workload], None],
        vacant_s: float = VACANT_S,
    ) -> None:
        self.name = name
        self.spec: PodSpec | None = None
        self.applied: int | None = None
        self.generation = 0
        self.has_budget = False
        self.is_pending = False
        self.lock = asyncio.Lock()
        self._on_vacancy_over = on_vacancy_over
        self._vacant_s = vacant_s
        self._replicas: list[Replica] = []
        self._leaving: list[Replica] = []
        self._vacancies: list[asyncio.TimerHandle] = []
        self._pods: dict[str, ClusterPod] = {}
        # By uid of the pod: the last replica that it has filled, which may have ended since.
        self._ids: dict[str, str] = {}
        self._creation_fault = ""

    @property
    def wanted(self) -> int:
        """How many pods its Deployment is to have."""
        return len(self._replicas) + len(self._vacancies)

    @property
    def is_unused(self) -> bool:
        """Whether no pod is wanted, none is there, and nothing is left to do."""
        has_pods = self._replicas or self._leaving or self._vacancies or self._pods
        return not has_pods and not self.is_pending

    def add(self, replica: Replica) -> None:
        """Add a replica; it gets a pod that no other one has, or the next one."""
        if self._vacancies:
            self._vacancies.pop().cancel()
        self._replicas.append(replica)
        replica.creation_fault = self._creation_fault
        self._bind_free()

    def begin_leaving(self, replica: Replica) -> None:
        """Want a replica no more; it keeps its pod until that has ended."""
        self._replicas.remove(replica)
        self._leaving.append(replica)

    def end_leaving(self, replica: Replica) -> None:
        """Forget a replica that was leaving."""
        self._leaving.remove(replica)

    def vacate(self, replica: Replica) -> None:
        """Remove a replica whose pod has ended, and keep its place for a while."""
        self._replicas.remove(replica)
        self._add_vacancy()

    def take_over(self, count: int) -> None:
        """Keep the places of the pods of an earlier process for a while.

        Args:
            count: How many pods it has left.
        """
        for _ in range(count - self.wanted):
            self._add_vacancy()

    @property
    def pods(self) -> frozenset[str]:
        """Names of its pods of the cluster that may serve, also of those without a replica."""
        return frozenset(pod.metadata.name for pod in self._pods.values() if not pod.is_over)

    def forget_written(self) -> None:
        """Note that its objects in the cluster may differ from those that were written."""
        self.applied, self.has_budget = None, False

    def end_vacancies(self) -> None:
        """Keep no place any more."""
        for vacancy in self._vacancies:
            vacancy.cancel()
        self._vacancies.clear()

    def on_pod(self, pod: ClusterPod) -> None:
        """Take over a new or changed pod of the cluster."""
        self._pods[pod.metadata.uid] = pod
        owner = self._owner(pod)
        if owner is None or not owner.follow(pod):
            self._bind_free()
        if owner is not None:
            owner.report()

    def on_deleted(self, pod: ClusterPod) -> None:
        """Take over that a pod is gone from the cluster."""
        self._pods.pop(pod.metadata.uid, None)
        self._ids.pop(pod.metadata.uid, None)
        owner = self._owner(pod)
        if owner is not None:
            owner.lose(pod)

    def on_creation_fault(self, fault: str) -> None:
        """Take over why Kubernetes cannot create pods of the version; empty if it can."""
        if fault == self._creation_fault:
            return
        self._creation_fault = fault
        for replica in self._replicas:
            replica.creation_fault = fault
            replica.report()

    def id_of(self, pod: ClusterPod) -> str:
        """Return the id by which the platform knows a pod: its own name if it has none yet."""
        return self._ids.get(pod.metadata.uid, pod.metadata.name)

    def _add_vacancy(self) -> None:
        loop = asyncio.get_running_loop()
        self._vacancies.append(loop.call_later(self._vacant_s, self._end_oldest_vacancy))

    def _end_oldest_vacancy(self) -> None:
        self._vacancies.pop(0)
        self._on_vacancy_over(self)

    def _owner(self, pod: ClusterPod) -> Replica | None:
        uid = pod.metadata.uid
        for replica in chain(self._replicas, self._leaving):
            if replica.pod is not None and replica.pod.metadata.uid == uid:
                return replica
        return None

    def _bind_free(self) -> None:
        """Give each replica without a pod one that is free: a ready one, or else its own before."""
        waiting = [
            replica for replica in self._replicas if replica.pod is None and not replica.is_gone
        ]
        if not waiting:
            return
        free = [
            pod
            for pod in self._pods.values()
            if not pod.is_leaving and not pod.is_over and self._owner(pod) is None
        ]
        for replica in waiting[: len(free)]:
            pod = min(
                free,
                key=lambda pod: (not pod.is_ready, self.id_of(pod) != replica.id),
            )
            free.remove(pod)
            self._ids[pod.metadata.uid] = replica.id
            replica.bind(pod)
