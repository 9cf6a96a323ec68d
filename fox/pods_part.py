"""The pods part of a platform: a driver, and the reconciler that decides which pods it runs.

A pod runner of this machine has pods of its own. Those of a cluster share theirs: the one that
holds the lease writes the Deployments, and the others wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from broker.nats import lease
from broker.nats.access import Access
from broker.nats.bus import Bus
from broker.runtime.background import run_in_background
from broker.runtime.settings import Settings
from broker.storage.bundles import open_bundles
from broker.storage.pod_board import PodBoard
from broker.storage.store import Store
from broker.telemetry.metrics import Metrics
from fox.data_dir import lock_pods
from fox.pod_runner import CLUSTER, pod_limits, pod_rights, this_runner
from kubefox.pod import RunnerStatus
from pods.base import PodDriver
from pods.drivers import PodDriverFactory
from pods.liveness import LivenessBounds
from pods.logins import PodLogins, Revoke
from pods.logs import PodLogs, open_logs
from pods.reconciler import Reconciler, open_reconciler
from pods.runner_server import serve_runner
from pods.start_progress import StartProgress

logger = logging.getLogger(__name__)

_RETRY_S = 1.0


class PodsParts(NamedTuple):
    """The parts of the process that the pods use.

    Attributes:
        settings: Of the process.
        bus: Its connection to NATS.
        store: Has the component versions.
        metrics: Of the process.
        board: Pods and pod runners.
        access: Signs the logins of pods.
        make_driver: The installed driver.
        revoke: Ends the logins of versions that are gone.
    """

    settings: Settings
    bus: Bus
    store: Store
    metrics: Metrics
    board: PodBoard
    access: Access
    make_driver: PodDriverFactory
    revoke: Revoke


class PodsPart:
    """The pods of this process; made by ``open_pods``.

    Args:
        parts: Of the process.
        runner: This pod runner.
        logs: The output of its pods.
    """

    def __init__(self, parts: PodsParts, runner: RunnerStatus, logs: PodLogs) -> None:
        self._parts = parts
        self._runner = runner
        self._logs = logs
        self._reconciler: Reconciler | None = None
        parts.metrics.watch_counter("pod_sleeps", lambda: self._count("stops"))
        parts.metrics.watch_counter("pod_wakes", lambda: self._count("activations"))

    def progress(self) -> StartProgress | None:
        """Return how far the start of the pods has come; None while this process runs none."""
        return self._reconciler.progress() if self._reconciler is not None else None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the pods until the context ends; the pod board shows this runner at its beginning."""
        async with contextlib.AsyncExitStack() as stack:
            enter = stack.enter_async_context
            bus, is_shared = self._parts.bus, _is_shared(self._parts.settings)
            logins = PodLogins(self._parts.access)
            driver = await enter(await self._driver(logins))
            revoking = logins.revoke_retired(self._parts.revoke)
            await enter(run_in_background(revoking, "revoking NATS credentials"))
            # To the end of the drain, the runner can be asked for logs, and others see that it
            # lives.
            await enter(serve_runner(bus, self._runner.name, self._logs, self._collect_files))
            opening = open_reconciler(
                bus,
                self._parts.store,
                self._parts.board,
                driver,
                runner=self._runner,
                limits=pod_limits(self._parts.settings),
                adopts_pods=is_shared,
            )
            self._reconciler = await enter(opening)
            # Before the reconciler ends: pods of a cluster go on without it.
            stack.callback(driver.detach)
            await self._parts.board.wait_runner(self._runner)
            yield

    async def check(self) -> None:
        """Make the driver, as a trial.

        Raises:
            InvalidRequest: A setting is not valid.
        """
        await self._driver(PodLogins(self._parts.access))

    async def lead(self) -> None:
        """Run the pods whenever this process holds the lease for them, until cancelled."""
        bus, name = self._parts.bus, self._runner.name
        while True:
            try:
                async with lease.hold(bus, name, bus.process_id) as held, self.running():
                    logger.info("this process runs the pods of %s", name)
                    await held.lost.wait()
            except Exception:
                logger.exception("the pods of %s cannot be run, retrying", name)
                await asyncio.sleep(_RETRY_S)

    async def _driver(self, logins: PodLogins) -> PodDriver:
        settings, bus = self._parts.settings, self._parts.bus
        bundles = await open_bundles(bus)
        return self._parts.make_driver(
            data_dir=settings.data_dir.resolve(),
            logins=logins,
            fetch=bundles.get,
            logs=self._logs,
            grace_s=settings.drain_s,
            liveness=LivenessBounds(
                alone_s=settings.pod_liveness_s, with_replica_s=settings.pod_replica_liveness_s
            ),
            # `fox logs` selects lines by their fields, and prints them as text.
            log_format="json",
            log_level=settings.log_level,
            rights=pod_rights(settings),
            bus=bus,
            image=settings.pod_image,
            template=settings.pod_template,
            image_repositories=settings.pod_image_repositories,
        )

    async def _collect_files(self) -> None:
        if self._reconciler is not None:
            await self._reconciler.collect_files()

    def _count(self, name: str) -> int:
        count: int = getattr(self._reconciler.counts, name) if self._reconciler is not None else 0
        return count


def _is_shared(settings: Settings) -> bool:
    """Return whether all pod runners have the same pods."""
    return settings.pod_driver == CLUSTER


@contextlib.asynccontextmanager
async def open_pods(parts: PodsParts) -> AsyncIterator[PodsPart]:
    """Run the pods until the context ends; in a cluster, whenever this process holds the lease.

    Raises:
        Conflict: Another process runs pods from the data folder.
        InvalidRequest: There is no cluster, or a setting is not valid.
    """
    data_dir: Path = parts.settings.data_dir.resolve()
    with lock_pods(data_dir):
        async with open_logs(data_dir / "logs") as logs:
            runner = await asyncio.to_thread(this_runner, data_dir, parts.settings)
            part = PodsPart(parts, runner, logs)
            if _is_shared(parts.settings):
                # A driver that cannot be made ends the process at its start.
                await part.check()
                running = run_in_background(part.lead(), "running the pods of the cluster")
            else:
                running = part.running()
            async with running:
                yield part
