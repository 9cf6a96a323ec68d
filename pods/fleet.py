"""The pods of one reconciler: start and stop those that a snapshot or the idle check changes."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Collection, Mapping
from functools import partial
from itertools import chain

from broker.dispatch.activation import ANSWER_S
from broker.dispatch.usage import wait_unused
from broker.events.outbox import pending_events
from broker.nats.bus import Bus
from broker.nats.wake_requests import Wake
from broker.runtime.cooperative import TimeSlice
from broker.storage.pod_board import PodBoard
from broker.storage.store import Store
from kubefox.component import short
from kubefox.distill import Version
from kubefox.errors import NotFound
from kubefox.pod import PodPhase, PodStatus
from pods.base import PodDriver, PodSpec
from pods.callees import callees_of, definitions_of
from pods.demand import Demand, Needs
from pods.gone_announcer import GoneAnnouncer
from pods.idle_versions import IdleCounts, IdleVersions
from pods.limits import PodLimits
from pods.plan import idle_versions, plan, stop_order
from pods.pod_set import PodSet
from pods.recall import recalled_versions
from pods.recovery import Recovery
from pods.replica_counts import ReplicaCounts
from pods.start_order import StartPriorities, StartRank, start_order
from pods.start_progress import StartProgress
from pods.start_slots import StartSlots
from pods.status_publisher import StatusPublisher
from pods.supervisor import PodDependencies, PodSupervisor
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import UsageIndex

logger = logging.getLogger(__name__)

_SUFFIX_BYTES = 4

_Batch = dict[str, Version]
"""Pods that are stopped together: pod id to version."""


class Fleet:
    """Starts and stops pods.

    Args:
        bus: Connection for the queries before, and the announcements after, the end of a pod.
        store: Contains the component versions.
        board: Names the pods of other runners.
        driver: Runs the pods.
        runner: Name of this pod runner.
        publisher: Shows the statuses of the pods.
        group: Runs the pods' tasks; when it is cancelled, all pods drain at the same time.
        limits: Limits for the pods.
        counts: How often versions were stopped while idle, and activated.

    Attributes:
        gone: Announces the pods that have died.
        idle: The idle versions.
        priorities: Which pods start before others.
        replicas: How many pods each version has.
        demand: How many pods each version needs.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        board: PodBoard,
        driver: PodDriver,
        runner: str,
        publisher: StatusPublisher,
        group: asyncio.TaskGroup,
        limits: PodLimits,
        counts: IdleCounts,
    ) -> None:
        self._bus = bus
        self._store = store
        self._board = board
        self._driver = driver
        self._runner = runner
        self._publisher = publisher
        self._group = group
        self._limits = limits
        self._pods = PodSet()
        self.gone = GoneAnnouncer(bus, board, self._pods.living, driver.pods_of)
        self._dependencies = PodDependencies(
            driver=driver,
            start_slots=StartSlots(limits.starts_at_once),
            urgency=self._urgency,
            start_deadline_s=limits.start_deadline_s,
            on_status=self._on_status,
            announce_gone=self.gone.announce,
            has_replica=publisher.has_replica,
        )
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, _Batch] = {}
        self.idle = IdleVersions(counts, limits.event_ttl_s)
        self._recovery = Recovery(self._pods.is_recovering)
        self.priorities = StartPriorities()
        self.replicas = ReplicaCounts(limits.replicas)
        self.demand = Demand(self.replicas, self.idle)
        self._usage = UsageIndex()
        self._board_position = -1

    def start_released(self) -> None:
        """Begin to start a pod of each version that plain URLs need, unless it is idle.

        All other pods have to wait for the usage index, in ``apply``.
        """
        idle = self._board.idle_marks if self._limits.idle_s else ()
        released = self._store.snapshot.released_versions
        for version in self.priorities.first(set(released).difference(idle)):
            self._start_if_missing(version)

    async def apply(self) -> int:
        """Begin to start and stop pods, so that they become those that the latest data need.

        Yields in between if there are many, as at the start.

        Returns:
            The revision of the data.
        """
        usage = await self._store.usage()
        revision = usage.snapshot.revision
        time_slice = TimeSlice()
        self.demand.follow(usage)
        if self.demand.is_behind:
            try:
                for _ in self.demand.read_all(usage, tuple(self._pods.living)):
                    await time_slice.checkpoint()
            except BaseException:
                self.demand.is_behind = True
                raise
        while self.demand.has_more:
            usage = await self._store.usage()
            self._satisfy(self.demand.take(usage), usage)
            await time_slice.checkpoint()
        return revision

    async def _apply_to(self, versions: Collection[Version]) -> None:
        """Begin to give some versions the pods that they need now."""
        usage = await self._store.usage()
        self._satisfy(self.demand.look_up(versions, usage), usage)

    def _satisfy(self, needs: Needs, usage: UsageIndex) -> None:
        self._usage = usage
        try:
            self._carry_out(needs, usage)
        except BaseException:
            self.demand.note(needs.versions)
            raise

    def _carry_out(self, needs: Needs, usage: UsageIndex) -> None:
        pods = self._pods.versions_of(needs.versions)
        ready = frozenset(chain.from_iterable(map(self.ready_pods, needs.versions)))
        actions = plan(needs.replicas, pods, ready)
        for version in start_order(actions.start, partial(self.priorities.rank, usage=usage)):
            self._start(version)
        # A leaving pod that is wanted again stays.
        for pod in self._leaving.keys() & pods.keys() - {*actions.stop, *actions.surplus}:
            del self._leaving[pod]
        self._stop_when_unused(frozenset(actions.stop), usage.snapshot)
        self._stop_surplus(frozenset(actions.surplus), usage.snapshot)

    def ready_pods(self, version: Version) -> frozenset[str]:
        """Return the ids of a version's ready pods."""
        return self._pods.ready(version) - self._leaving.keys()

    def pods_that_may_have_events(self, version: Version) -> tuple[frozenset[str], int]:
        """Return the ids of all pods of a version, and since when (µs) no other has ended."""
        pods = self.gone.pods_of(version)
        return pods, self._board.pods_known_since_us(version)

    def names_of(self, pods: Collection[str]) -> list[str]:
        """Return the ids on NATS of some pods."""
        return [self._pods[pod].nats_id for pod in pods]

    async def scale(self, counts: Mapping[Version, int]) -> None:
        """Begin to give some versions another number of pods, within their limits."""
        if changed := self.replicas.ask_for(counts):
            await self._apply_to(changed)

    async def follow_idle(self, *, from_start: bool = False) -> None:
        """Take over which versions are idle from the board, unless this runner leads.

        Args:
            from_start: Whether to read all marks, because this runner decided until now.
        """
        if not self._limits.idle_s or self.idle.is_leading:
            return
        if from_start:
            self._board_position = -1
        changed = self._board.changed_versions.since(self._board_position)
        self._board_position = self._board.changed_versions.position
        marks = self._board.idle_marks
        if changed is None:
            changed = dict.fromkeys((*marks, *self.idle.versions))
        if moved := self.idle.follow({version: marks.get(version) for version in changed}):
            await self._apply_to(moved)

    def progress(self) -> StartProgress | None:
        """Return how far the start of the pods has come; None until all versions are known."""
        if self.demand.is_behind or self.demand.has_more:
            return None
        statuses = self._pods.statuses()
        wanted = self.replicas.versions
        return StartProgress.of(
            wanted,
            frozenset(filter(self._usage.is_released, wanted)),
            ready=[status.version for status in statuses if status.phase is PodPhase.READY],
            failed=[status.version for status in statuses if status.failed_starts],
        )

    def _urgency(self, version: Version) -> StartRank:
        if self.idle.is_activating(version) or self._recovery.is_awaited(version):
            return StartRank.AWAITED
        return self.priorities.rank(version, self._usage)

    async def hashes_in_use(self) -> frozenset[str]:
        """Return the hashes of the versions that are wanted or have a pod here."""
        usage = await self._store.usage()
        # The pods that drain are on the board only.
        pods = (*self._pods.statuses(), *self._board.pods_of_runner(self._runner))
        wanted = (version.hash for version in usage.wanted())
        return frozenset((*wanted, *(pod.hash for pod in pods)))

    def find_idle(self, used_hashes: frozenset[str] = frozenset()) -> frozenset[Version]:
        """Return the versions that may be stopped because they are idle.

        Args:
            used_hashes: Hashes of the versions that were used within the idle time.
        """
        ready_at_s = {
            supervisor.status.version: supervisor.ready_at_s
            for pod, supervisor in self._pods.items()
            if supervisor.ready_at_s is not None
            and pod not in self._leaving
            and self.replicas.may_be_idle(supervisor.status.version)
        }
        return idle_versions(ready_at_s, used_hashes, time.monotonic(), self._limits.idle_s)

    async def stop_idle(self, used_hashes: frozenset[str]) -> None:
        """Stop the idle versions, except those for which emitted events wait.

        An event that arrives from now on activates its version, so usage is not queried again.

        Args:
            used_hashes: Hashes of the versions that were used within the idle time.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        idle = self.find_idle(used_hashes)
        needed = {version for version in idle if await pending_events(self._bus, version.hash)}
        # While NATS answered, a pod may have died, or a version may have been undeployed.
        versions = self.find_idle(used_hashes) & idle - needed
        batch = {
            pod: supervisor.status.version
            for pod, supervisor in self._pods.items()
            if supervisor.status.version in versions
        }
        if batch:
            self.idle.add(versions)
            self._leaving.update(dict.fromkeys(batch, batch))
            self._group.create_task(self._stop_in_order(batch, self._store.snapshot))
            await self._apply_to(versions)

    async def activate(self, version: Version, hashes: frozenset[str] = frozenset()) -> Wake:
        """Start a version if it is idle, and return its state within about ``ANSWER_S``.

        A version that is not deployed any more is started if emitted events wait for it. While a
        pod of the version restarts, this waits for it.

        Args:
            version: The version that is needed.
            hashes: Hashes of a deployment. Its idle versions that ``version`` calls are started
                as well, so that a chain of calls does not wait for one start after another.
        """
        if self.idle.activate(version):
            await self._start_with_callees(version, hashes)
        elif not self._pods.has(version):
            await self._recall(version, hashes)
        if not await self.idle.wait_activated(version, ANSWER_S):
            return Wake.WAKING
        await self._recovery.wait(version, ANSWER_S)
        if self._pods.ready(version):
            return Wake.AWAKE
        return Wake.RESTARTING if self._pods.is_recovering(version) else Wake.NOT_IDLE

    async def _recall(self, version: Version, hashes: frozenset[str]) -> None:
        """Start an undeployed version for which emitted events wait; see ``pods.recall``."""
        recalled = await recalled_versions(self._bus, self._store, version, hashes)
        # While NATS answered, another event may have recalled it.
        missing = [version for version in recalled if not self._pods.has(version)]
        for needed in missing:
            self.idle.recall(needed)
            self._start(needed)
        if missing:
            logger.info("emitted events wait for %s, which is not deployed: it starts", version)
            # The pods stop again when no event waits any more.
            await self._apply_to(missing)

    async def _start_with_callees(self, version: Version, hashes: frozenset[str]) -> None:
        activated = [version]
        self._start_if_missing(version)
        for callee in callees_of(version, hashes, await self._store.usage()):
            if self.idle.activate(callee):
                self._start_if_missing(callee)
                activated.append(callee)
        # A pod whose turn to stop had not come yet stays. The pod of a version that was undeployed
        # while it was idle stops as soon as no request from before needs it.
        await self._apply_to(activated)
        for ready in filter(self._pods.ready, activated):
            self.idle.end_activation(ready)

    def _start_if_missing(self, version: Version) -> None:
        if not self._pods.has(version):
            self._start(version)

    def _start(self, version: Version) -> None:
        app, component, digest = version
        pod = f"{component}-{short(digest)}-{secrets.token_hex(_SUFFIX_BYTES)}"
        status = PodStatus(
            id=pod,
            app=app,
            component=component,
            hash=digest,
            phase=PodPhase.STARTING,
            runner=self._runner,
        )
        supervisor = PodSupervisor(status, self._find_spec, self._dependencies)
        self._pods.add(supervisor)
        self._tasks[pod] = self._group.create_task(self._supervise(supervisor), name=pod)

    async def _supervise(self, supervisor: PodSupervisor) -> None:
        try:
            await supervisor.run()
        finally:
            status = supervisor.status
            del self._tasks[status.id]
            self._pods.remove(status)
            self._publisher.remove(status)
            if not self._pods.has(status.version):
                self.idle.end_activation(status.version)
                if not self._usage.is_wanted(status.version):
                    self._driver.retire(status.version)
            self._recovery.on_change(status.version)
            logger.info("pod %s has ended", status.id)

    def _stop_when_unused(self, pods: frozenset[str], snapshot: Snapshot) -> None:
        """Stop ``pods`` once they are unused."""
        if batch := self._new_batch(pods):
            self._group.create_task(self._stop_unused(batch, snapshot))

    def _stop_surplus(self, pods: frozenset[str], snapshot: Snapshot) -> None:
        """Stop ``pods``, whose version has others: they drain, and the others get new events."""
        if batch := self._new_batch(pods):
            self._group.create_task(self._stop_in_order(batch, snapshot))

    def _new_batch(self, pods: frozenset[str]) -> _Batch:
        """Return those of ``pods`` that are not leaving yet, as leaving together."""
        batch = {pod: self._pods[pod].status.version for pod in pods - self._leaving.keys()}
        self._leaving.update(dict.fromkeys(batch, batch))
        return batch

    async def _stop_unused(self, batch: _Batch, snapshot: Snapshot) -> None:
        hashes = frozenset(digest for _, _, digest in batch.values())
        limit_s = self._limits.event_ttl_s
        if not await wait_unused(self._bus, hashes, snapshot.revision, limit_s):
            logger.warning("stopping pods that a broker may still need: %s", sorted(batch))
        await self._stop_in_order(batch, snapshot)

    async def _stop_in_order(self, batch: _Batch, snapshot: Snapshot) -> None:
        for pods in stop_order(batch, definitions_of(batch.values(), snapshot)):
            # A pod that was wanted again has left the batch, even if it is in a new one now.
            await self._stop([pod for pod in pods if self._leaving.get(pod) is batch])

    async def _stop(self, pods: list[str]) -> None:
        for pod in pods:
            del self._leaving[pod]
            # The pod does not count any more: if its version is wanted again, a new one starts.
            self._pods.discount(pod)
            self._tasks[pod].cancel()
        if tasks := [self._tasks[pod] for pod in pods]:
            await asyncio.wait(tasks)

    def _on_status(self, status: PodStatus) -> None:
        self._publisher.put(status)
        self.idle.on_status(status)
        self._recovery.on_change(status.version)

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
            dependencies=found.definition.dependencies,
            is_new=not status.restarts,
        )
