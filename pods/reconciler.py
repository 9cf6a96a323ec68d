"""The reconciler: pods run for exactly the component versions that are in use.

It follows the control plane's data, and with each change starts and stops the pods that differ
(``pods.plan``, ``pods.fleet``). Each pod has a keeper that restarts it (``pods.keeper``). Versions
that nobody uses may sleep (``pods.waker``). Of all reconcilers only the one that holds the lease
acts; the others stand by.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from broker import lease
from broker.background import running
from broker.bus import Bus
from broker.pod_board import PodBoard
from broker.store import Store
from model.errors import FoxError
from pods.base import PodDriver
from pods.fleet import Fleet, Limits
from pods.published import PublishedStatuses
from pods.sleepers import Counts
from pods.waker import Waker

logger = logging.getLogger(__name__)

LEASE = "reconciler"

_RETRY_S = 1.0
_LAST_PUBLISH_S = 2.0


class Reconciler:
    """Keeps pods as the data asks for; made by ``open_reconciler``.

    Attributes:
        counts: How often versions fell asleep and were woken.
    """

    def __init__(
        self, bus: Bus, store: Store, board: PodBoard, driver: PodDriver, limits: Limits
    ) -> None:
        """Prepare; nothing is done before ``run``."""
        self._bus = bus
        self._store = store
        self._board = board
        self._driver = driver
        self._limits = limits
        self._published: PublishedStatuses | None = None
        self.counts = Counts()
        bus.on_reconnect(self._publish_again)

    @property
    def is_leading(self) -> bool:
        """Whether this one acts, and does not stand by."""
        return self._published is not None

    async def run(self, holder: str, lease_ttl_s: float) -> None:
        """Lead whenever the lease is ours, until cancelled; then stop all pods."""
        while True:
            try:
                async with lease.hold(self._bus, LEASE, holder, ttl_s=lease_ttl_s) as held:
                    await self._lead(held.lost)
            except Exception:
                logger.exception("the reconciler failed and begins anew")
                await asyncio.sleep(_RETRY_S)

    async def _lead(self, lost: asyncio.Event) -> None:
        """Keep the pods until the lease is lost; they are gone when this returns."""
        published = self._published = PublishedStatuses(self._board)
        try:
            async with (
                running(published.run(), "publishing pods' statuses"),
                asyncio.TaskGroup() as group,
            ):
                fleet = Fleet(
                    self._bus,
                    self._store,
                    self._driver,
                    published,
                    group,
                    self._limits,
                    self.counts,
                )
                group.create_task(self._follow(fleet))
                if self._limits.idle_s:
                    group.create_task(Waker(self._bus, fleet, self._limits).run())
                group.create_task(_end_when(lost))
        except* _LeaseLost:
            logger.warning("all pods were stopped: another reconciler leads")
        finally:
            self._published = None
            with contextlib.suppress(FoxError, TimeoutError):
                async with asyncio.timeout(_LAST_PUBLISH_S):
                    await published.publish()

    async def _follow(self, fleet: Fleet) -> None:
        while True:
            snapshot = self._store.snapshot
            try:
                fleet.apply(snapshot)
            except Exception:
                logger.exception("pods cannot be brought to revision %d", snapshot.revision)
                await asyncio.sleep(_RETRY_S)
            else:
                await self._store.wait_change(snapshot.revision)

    async def _publish_again(self) -> None:
        if self._published is not None:
            await self._published.repeat()


class _LeaseLost(Exception):
    """Ends the term of a reconciler."""


async def _end_when(lost: asyncio.Event) -> None:
    await lost.wait()
    raise _LeaseLost


@contextlib.asynccontextmanager
async def open_reconciler(
    bus: Bus,
    store: Store,
    board: PodBoard,
    driver: PodDriver,
    *,
    holder: str,
    limits: Limits | None = None,
    lease_ttl_s: float = lease.TTL_S,
) -> AsyncIterator[Reconciler]:
    """Reconcile until the context ends; then all pods drain at once, and are gone.

    Args:
        bus: Connection to use.
        store: The control plane's data.
        board: Where pods' statuses are published.
        driver: Runs the pods.
        holder: Names this reconciler among living ones. One that comes back under the name of
            its earlier life leads at once, without waiting for that one's lease to run out.
        limits: How pods are treated.
        lease_ttl_s: How long a dead reconciler keeps the lease.
    """
    reconciler = Reconciler(bus, store, board, driver, limits or Limits())
    async with running(reconciler.run(holder, lease_ttl_s), "the reconciler"):
        yield reconciler
