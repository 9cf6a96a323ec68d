"""The pods of one reconciler: which there are, which are leaving, what a new plan changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Iterable

import msgspec

from broker.bus import Bus
from broker.outbox import events_for
from broker.store import Store
from broker.usage import wait_unused
from broker.waking import ANSWER_S, Wake
from model import subjects
from model.component import ComponentDefinition, short
from model.distill import Version
from model.errors import NatsUnavailable, NotFound
from model.pod import PodPhase, PodStatus
from pods.base import PodDriver, PodSpec
from pods.keeper import Keeper, Surroundings
from pods.plan import called, idle, plan, stop_order, wanted
from pods.published import PublishedStatuses
from pods.sleepers import Counts, Sleepers
from routing.snapshot import Snapshot

logger = logging.getLogger(__name__)

_SUFFIX_BYTES = 4

_Batch = dict[str, Version]
"""Pods that leave together, by id."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How pods are treated.

    Attributes:
        starts_at_once: How many start at the same time on this machine.
        start_deadline_s: How long one may take until it is ready.
        event_ttl_s: How long a request lives that may still need a pod.
        idle_s: How long nobody may have used a version until it sleeps; 0 lets none sleep.
        least_look_s: Least time between two questions for who has used what.
    """

    starts_at_once: int = 4
    start_deadline_s: float = 30
    event_ttl_s: float = 30
    idle_s: float = 0
    least_look_s: float = 3


class Fleet:
    """Starts and stops pods as the data asks for.

    Args:
        bus: For the questions and the news that go with a pod's end.
        store: Holds the component versions.
        driver: Runs the pods.
        published: Shows their statuses.
        group: Holds the pods' tasks; when it is cancelled, all pods drain at the same time.
        limits: How pods are treated.
        counts: Of versions that fell asleep and were woken.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        driver: PodDriver,
        published: PublishedStatuses,
        group: asyncio.TaskGroup,
        limits: Limits,
        counts: Counts,
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
            report=self._report,
            tell_gone=self._tell_gone,
        )
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, _Batch] = {}
        self._sleepers = Sleepers(published, counts, limits.event_ttl_s)

    def apply(self, snapshot: Snapshot) -> None:
        """Begin whatever makes the pods those that ``snapshot`` asks for."""
        versions = wanted(snapshot)
        self._sleepers.keep_only(versions)
        pods = {pod: keeper.status.version for pod, keeper in self._keepers.items()}
        actions = plan(versions - self._sleepers.versions, pods)
        for version in actions.start:
            self._start(version)
        self._let_leave(frozenset(actions.stop), snapshot)

    def may_sleep(self, used: frozenset[str] = frozenset()) -> frozenset[Version]:
        """Return the versions that may sleep, but for those that somebody has ``used``."""
        ready_at_s = {
            keeper.status.version: keeper.ready_at_s
            for pod, keeper in self._keepers.items()
            if keeper.ready_at_s is not None and pod not in self._leaving
        }
        return idle(ready_at_s, used, time.monotonic(), self._limits.idle_s)

    async def let_sleep(self, used: frozenset[str]) -> None:
        """Let the versions sleep that nobody has used; events that wait keep one awake.

        An event that comes from now on wakes its version, so nobody need be asked again.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        unused = self.may_sleep(used)
        waited_for = {each for each in unused if await events_for(self._bus, each.hash)}
        # Meanwhile a pod may have died, or a version have been undeployed.
        versions = self.may_sleep(used) & unused - waited_for
        batch = {
            pod: keeper.status.version
            for pod, keeper in self._keepers.items()
            if keeper.status.version in versions
        }
        if batch:
            self._sleepers.add(versions)
            self._leaving.update(dict.fromkeys(batch, batch))
            self._group.create_task(self._stop_in_order(batch, self._store.snapshot))

    async def wake(self, version: Version, hashes: frozenset[str] = frozenset()) -> Wake:
        """Return what has become of a version within ``ANSWER_S``; if it sleeps, start it.

        Args:
            version: Who is needed.
            hashes: Of a deployment: those that the version calls are started with it, so that a
                chain of calls need not wait for one after another.
        """
        if self._sleepers.rouse(version):
            self._wake(version, hashes)
        if not await self._sleepers.wait_awake(version, ANSWER_S):
            return Wake.WAKING
        return Wake.AWAKE if self._is_ready(version) else Wake.NOT_ASLEEP

    def _wake(self, version: Version, hashes: frozenset[str]) -> None:
        woken = [version]
        self._start_if_missing(version)
        for each in self._called_by(version, hashes):
            if self._sleepers.rouse(each):
                self._start_if_missing(each)
                woken.append(each)
        # A pod whose turn to stop had not come yet stays. One of a version that was given up while
        # it slept leaves as soon as no request from before needs it.
        self.apply(self._store.snapshot)
        for each in filter(self._is_ready, woken):
            self._sleepers.end_waking(each)

    def _called_by(self, version: Version, hashes: frozenset[str]) -> tuple[Version, ...]:
        snapshot = self._store.snapshot
        members = [
            each for each in wanted(snapshot) if each.hash in hashes and each.app == version.app
        ]
        return called(version, members, _definitions({version, *members}, snapshot))

    def _start_if_missing(self, version: Version) -> None:
        if not self._has_pod(version):
            self._start(version)

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
            if not self._has_pod(keeper.status.version):
                self._sleepers.end_waking(keeper.status.version)
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
        await self._stop_in_order(batch, snapshot)

    async def _stop_in_order(self, batch: _Batch, snapshot: Snapshot) -> None:
        for pods in stop_order(batch, _definitions(batch.values(), snapshot)):
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

    def _report(self, status: PodStatus) -> None:
        self._published.put(status)
        self._sleepers.note(status)

    def _has_pod(self, version: Version) -> bool:
        return any(each.status.version == version for each in self._keepers.values())

    def _is_ready(self, version: Version) -> bool:
        return any(
            each.status.version == version and each.status.phase is PodPhase.READY
            for each in self._keepers.values()
        )

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


def _definitions(
    versions: Iterable[Version], snapshot: Snapshot
) -> dict[Version, ComponentDefinition]:
    return {
        version: found.definition
        for version in versions
        if (found := snapshot.component(*version)) is not None
    }
