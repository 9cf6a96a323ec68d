"""The reconciler of a pod runner: it runs a pod for each of the component versions in use.

It follows the control plane's data. With each change it starts and stops the pods that differ
(``pods.plan``, ``pods.fleet``); a supervisor restarts each pod (``pods.supervisor``). Several
runners on one NATS each run pods of all versions, and NATS spreads the events over them.

One of them, which holds the lease, leads: it decides which versions are idle, and starts them again
at their next event (``pods.idle_controller``). The others follow its marks on the pod board. Each
runner watches the others (``pods.runner_watch``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

from broker.dispatch.usage import used_lately
from broker.nats import lease
from broker.nats.bus import Bus
from broker.runtime.background import run_in_background
from broker.storage.pod_board import PodBoard
from broker.storage.store import Store
from kubefox.errors import FoxError
from kubefox.pod import RecentUse, RunnerStatus
from pods.base import PodDriver
from pods.fleet import Fleet
from pods.idle_controller import FindUsed, IdleController
from pods.idle_versions import IdleCounts
from pods.limits import PodLimits
from pods.load_sampler import LoadSampler
from pods.runner_watch import LEASE, RunnerWatch
from pods.start_progress import StartProgress
from pods.status_publisher import StatusPublisher
from pods.wake_responder import answer_wake_requests

logger = logging.getLogger(__name__)

RECENT_S = 3600.0
"""A version that was used within this time starts before others."""

_MAX_RECENT = 1000
_RETRY_S = 1.0
_LAST_PUBLISH_S = 6.0
_LAST_TRY_S = 2.0
_LAST_RETRY_S = 0.2


class Reconciler:
    """Makes the running pods equal to those that the data needs; made by ``open_reconciler``.

    Attributes:
        counts: How often versions were stopped while idle, and activated.
        is_leading: Whether this reconciler decides which versions are idle.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        board: PodBoard,
        driver: PodDriver,
        runner: RunnerStatus,
        limits: PodLimits,
        find_used: FindUsed,
        *,
        adopts_pods: bool = False,
    ) -> None:
        self._adopts_pods = adopts_pods
        self._bus = bus
        self._store = store
        self._board = board
        self._driver = driver
        self._runner = runner
        self._limits = limits
        self._find_used = find_used
        self._publishers: set[StatusPublisher] = set()
        self._fleet: Fleet | None = None
        self.counts = IdleCounts()
        self.is_leading = False
        bus.on_reconnect(self._publish_again)

    async def run(self, lease_ttl_s: float) -> None:
        """Run the pods until cancelled; then stop all of them."""
        while True:
            try:
                await self._run_pods(lease_ttl_s)
            except Exception:
                logger.exception("the reconciler failed and starts again")
                await asyncio.sleep(_RETRY_S)

    def progress(self) -> StartProgress | None:
        """Return how far the start of the pods has come; None before it begins."""
        return self._fleet.progress() if self._fleet is not None else None

    async def collect_files(self) -> None:
        """Remove the stored files of the versions that are not in use."""
        if self._fleet is not None:
            await self._driver.collect_garbage(await self._fleet.hashes_in_use())

    async def _run_pods(self, lease_ttl_s: float) -> None:
        # Earlier versions wrote no runner.
        left = [pod for pod in self._board.statuses if pod.runner in {"", self._runner.name}]
        owned = {self._runner.key, *(status.key for status in left)}
        async with self._publishing(StatusPublisher(self._board, owned)) as publisher:
            publisher.put(self._runner)
            try:
                async with asyncio.TaskGroup() as group:
                    fleet = self._fleet = Fleet(
                        self._bus,
                        self._store,
                        self._board,
                        self._driver,
                        self._runner.name,
                        publisher,
                        group,
                        self._limits,
                        self.counts,
                    )
                    watch = RunnerWatch(
                        self._bus, self._board, self._runner.name, fleet.gone.announce
                    )
                    fleet.priorities.used_hashes = self._board.recently_used
                    if self._adopts_pods:
                        fleet.replicas.adopt(await self._driver.left_pods())
                    fleet.start_released()
                    await fleet.follow_idle()
                    group.create_task(self._follow(fleet))
                    group.create_task(self._prefer_used(fleet))
                    group.create_task(self._follow_idle(fleet))
                    group.create_task(self._lead(fleet, lease_ttl_s))
                    group.create_task(watch.run())
                    if not self._adopts_pods:
                        # If there are any, this runner was killed.
                        group.create_task(watch.announce_orphans(left))
                    group.create_task(LoadSampler(self._bus, fleet, self._limits.windows).run())
            finally:
                self._fleet = None
                publisher.remove(self._runner)

    async def _follow(self, fleet: Fleet) -> None:
        while True:
            try:
                revision = await fleet.apply()
            except Exception:
                logger.exception(
                    "pods cannot be brought to revision %d", self._store.snapshot.revision
                )
                await asyncio.sleep(_RETRY_S)
            else:
                await self._store.wait_change(revision)

    async def _prefer_used(self, fleet: Fleet) -> None:
        """Start the versions that brokers have used lately before others that wait."""
        await fleet.apply()
        progress = fleet.progress()
        if progress is not None and progress.total > self._limits.starts_at_once:
            used_hashes = await self._find_used(self._bus, RECENT_S)
            used_hashes = used_hashes or frozenset()
            fleet.priorities.used_hashes = self._board.recently_used | used_hashes

    async def _follow_idle(self, fleet: Fleet) -> None:
        changes = self._board.changes
        was_shown = False
        while True:
            await fleet.follow_idle()
            is_shown = self._board.shows(self._runner)
            if was_shown and not is_shown:
                # While this runner had no connection, another one took it for dead.
                await self._publish_again()
            was_shown = is_shown
            changes = await self._board.wait_change(changes)

    async def _lead(self, fleet: Fleet, lease_ttl_s: float) -> None:
        """Decide which versions are idle whenever this runner holds the lease."""
        while True:
            async with lease.hold(self._bus, LEASE, self._runner.name, ttl_s=lease_ttl_s) as held:
                marks = {mark.key for mark in self._board.idle_versions}
                async with self._publishing(StatusPublisher(self._board, marks)) as publisher:
                    with fleet.idle.leading(publisher):
                        self.is_leading = True
                        try:
                            await self._control_idle(fleet, publisher, held.lost)
                        finally:
                            self.is_leading = False
            await fleet.follow_idle(from_start=True)

    async def _control_idle(
        self, fleet: Fleet, publisher: StatusPublisher, lost: asyncio.Event
    ) -> None:
        """Stop idle versions, and answer requests for pods, until the lease is lost."""
        remembering = self._remember_use(publisher)
        async with (
            run_in_background(remembering, "remembering which versions are used"),
            contextlib.AsyncExitStack() as stack,
        ):
            if self._limits.idle_s:
                controller = IdleController(self._bus, fleet, self._limits, self._find_used)
                await stack.enter_async_context(
                    run_in_background(controller.run(), "stopping idle versions")
                )
            # It ends first: an answer after the first pods have ended would be that no pod starts.
            async with answer_wake_requests(self._bus, fleet):
                await lost.wait()

    async def _remember_use(self, publisher: StatusPublisher) -> None:
        """Keep on the board which versions were used lately, for the next start."""
        while True:
            await asyncio.sleep(self._limits.remember_use_s)
            used_hashes = await self._find_used(self._bus, RECENT_S)
            if used_hashes:
                publisher.put(RecentUse(hashes=tuple(sorted(used_hashes)[:_MAX_RECENT])))

    @contextlib.asynccontextmanager
    async def _publishing(self, publisher: StatusPublisher) -> AsyncIterator[StatusPublisher]:
        """Publish entries for the length of the context, and the last ones at its end."""
        self._publishers.add(publisher)
        try:
            async with run_in_background(publisher.run(), "publishing to the pod board"):
                yield publisher
        finally:
            self._publishers.discard(publisher)
            await self._publish_last(publisher)

    async def _publish_last(self, publisher: StatusPublisher) -> None:
        """Publish the last entries, with several tries unless NATS is away.

        Entries that stay on the board are removed by another runner, or by the next start of this
        one.
        """
        give_up_s = time.monotonic() + _LAST_PUBLISH_S
        while True:
            try:
                async with asyncio.timeout(_LAST_TRY_S):
                    await publisher.publish()
            except (FoxError, TimeoutError) as error:
                if not self._bus.is_ready or time.monotonic() > give_up_s:
                    logger.info("entries of the pod board are left as they are: %r", error)
                    return
                await asyncio.sleep(_LAST_RETRY_S)
            else:
                return

    async def _publish_again(self) -> None:
        for publisher in tuple(self._publishers):
            await publisher.publish_again()


@contextlib.asynccontextmanager
async def open_reconciler(
    bus: Bus,
    store: Store,
    board: PodBoard,
    driver: PodDriver,
    *,
    runner: RunnerStatus,
    limits: PodLimits | None = None,
    lease_ttl_s: float = lease.TTL_S,
    find_used: FindUsed = used_lately,
    adopts_pods: bool = False,
) -> AsyncIterator[Reconciler]:
    """Reconcile until the context ends; then drain all pods at once, and return when they ended.

    Args:
        bus: Connection to use.
        store: The control plane's data.
        board: Shows the pods' statuses.
        driver: Runs the pods.
        runner: This pod runner. One that is restarted under its earlier name replaces its earlier
            entries on the board, and need not wait until its earlier lease has expired.
        limits: Limits for the pods.
        lease_ttl_s: How long a dead reconciler keeps the lease.
        find_used: Finds the versions in use, for the idle check.
        adopts_pods: Whether the pods of an earlier process of this runner live on, so that the
            driver takes them over.
    """
    limits = limits or PodLimits()
    reconciler = Reconciler(
        bus, store, board, driver, runner, limits, find_used, adopts_pods=adopts_pods
    )
    async with run_in_background(reconciler.run(lease_ttl_s), "the reconciler"):
        yield reconciler
