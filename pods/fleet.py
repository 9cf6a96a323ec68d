"""The pods of one reconciler: which there are, which are leaving, what a new plan changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets

import msgspec

from broker.bus import Bus
from broker.store import Store
from broker.usage import wait_unused
from model import subjects
from model.component import short
from model.distill import Version
from model.errors import NatsUnavailable, NotFound
from model.pod import PodPhase, PodStatus
from pods.base import PodDriver, PodSpec
from pods.keeper import Keeper, Surroundings
from pods.plan import plan, stop_order, wanted
from pods.published import PublishedStatuses
from routing.snapshot import Snapshot

logger = logging.getLogger(__name__)

_SUFFIX_BYTES = 2

_Batch = dict[str, Version]
"""Pods that leave together, by id."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How pods are treated.

    Attributes:
        starts_at_once: How many start at the same time on this machine.
        start_deadline_s: How long one may take until it is ready.
        event_ttl_s: How long a request lives that may still need a pod.
    """

    starts_at_once: int = 4
    start_deadline_s: float = 30
    event_ttl_s: float = 30


class Fleet:
    """Starts and stops pods as the data asks for.

    Args:
        bus: For the questions and the news that go with a pod's end.
        store: Holds the component versions.
        driver: Runs the pods.
        published: Shows their statuses.
        group: Holds the pods' tasks; when it is cancelled, all pods drain at the same time.
        limits: How pods are treated.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        driver: PodDriver,
        published: PublishedStatuses,
        group: asyncio.TaskGroup,
        limits: Limits,
    ) -> None:
        """Start with no pods."""
        self._bus = bus
        self._store = store
        self._published = published
        self._group = group
        self._limits = limits
        self._surroundings = Surroundings(
            driver=driver,
            slots=asyncio.Semaphore(limits.starts_at_once),
            start_deadline_s=limits.start_deadline_s,
            report=published.put,
            tell_gone=self._tell_gone,
        )
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, _Batch] = {}

    def apply(self, snapshot: Snapshot) -> None:
        """Begin whatever makes the pods those that ``snapshot`` asks for."""
        pods = {pod: keeper.status.version for pod, keeper in self._keepers.items()}
        actions = plan(wanted(snapshot), pods)
        for version in actions.start:
            self._start(version)
        self._let_leave(frozenset(actions.stop), snapshot)

    def _start(self, version: Version) -> None:
        app, component, digest = version
        pod = f"{component}-{short(digest)}-{secrets.token_hex(_SUFFIX_BYTES)}"
        status = PodStatus(
            id=pod, app=app, component=component, hash=digest, phase=PodPhase.STARTING
        )
        keeper = self._keepers[pod] = Keeper(status, self._find_spec, self._surroundings)
        self._tasks[pod] = self._group.create_task(self._keep(keeper), name=pod)

    async def _keep(self, keeper: Keeper) -> None:
        try:
            await keeper.run()
        finally:
            self._keepers.pop(keeper.status.id, None)
            del self._tasks[keeper.status.id]
            self._published.remove(keeper.status)
            logger.info("pod %s is gone", keeper.status.id)

    def _let_leave(self, pods: frozenset[str], snapshot: Snapshot) -> None:
        """Stop ``pods`` once they are unused; those that were leaving and are wanted again stay."""
        for pod in self._leaving.keys() - pods:
            del self._leaving[pod]
        batch = {pod: self._keepers[pod].status.version for pod in pods - self._leaving.keys()}
        if batch:
            self._leaving.update(dict.fromkeys(batch, batch))
            self._group.create_task(self._stop_unused(batch, snapshot))

    async def _stop_unused(self, batch: _Batch, snapshot: Snapshot) -> None:
        hashes = frozenset(digest for _, _, digest in batch.values())
        limit_s = self._limits.event_ttl_s
        if not await wait_unused(self._bus, hashes, snapshot.revision, limit_s):
            logger.warning("pods are stopped though a broker may need them: %s", sorted(batch))
        definitions = {
            version: found.definition
            for version in batch.values()
            if (found := snapshot.component(*version)) is not None
        }
        for pods in stop_order(batch, definitions):
            # A pod that was wanted again meanwhile has left the batch, even if it is leaving anew.
            await self._stop([pod for pod in pods if self._leaving.get(pod) is batch])

    async def _stop(self, pods: list[str]) -> None:
        for pod in pods:
            del self._leaving[pod]
            # From here on it no longer counts: if its version is wanted again, a new one starts.
            del self._keepers[pod]
            self._tasks[pod].cancel()
        if tasks := [self._tasks[pod] for pod in pods]:
            await asyncio.wait(tasks)

    def _find_spec(self, status: PodStatus) -> PodSpec:
        found = self._store.snapshot.component(*status.version)
        if found is None:
            raise NotFound(f"component version {status.component}@{short(status.hash)} is unknown")
        return PodSpec(
            id=status.id,
            app=status.app,
            component=status.component,
            hash=status.hash,
            runtime=found.runtime,
        )

    async def _tell_gone(self, dead: PodStatus) -> None:
        """Have requesters fail at once what they wait for, unless another pod may have it."""
        others = (keeper.status for keeper in self._keepers.values())
        if any(
            other.phase is PodPhase.READY and other.id != dead.id and other.version == dead.version
            for other in others
        ):
            return
        # Without NATS everybody has failed whatever waited for it.
        with contextlib.suppress(NatsUnavailable):
            subject = subjects.component(*dead.version)
            await self._bus.publish(subjects.PODS_GONE, subject.encode())
