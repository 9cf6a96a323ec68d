"""A reconciler with all that it needs: real NATS, real store, real processes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from broker import bus as buses
from broker.bus import Bus
from broker.pod_board import PodBoard, open_pod_board
from broker.store import Store, open_store
from model import records, subjects
from model.component import ComponentDefinition, ComponentVersion, Dependency, Route
from model.deployment import Deployment
from model.pod import PodPhase, PodStatus
from pods.base import PodSpec
from pods.fleet import Limits
from pods.local import LocalDriver
from pods.logs import PodLogs, open_logs
from pods.reconciler import Reconciler, open_reconciler
from tests.pods import programs
from tests.pods.driver_contract import Bundles

APP = "order-app"
LIMITS = Limits(event_ttl_s=5)


class Platform:
    """The parts around a reconciler, and what a deployer would do with them."""

    def __init__(
        self, url: str, bus: Bus, store: Store, board: PodBoard, logs: PodLogs, folder: Path
    ) -> None:
        self.url = url
        self.bus = bus
        self.store = store
        self.board = board
        self.folder = folder
        self.bundles = Bundles()
        self.gone: list[str] = []
        self._logs = logs

    @contextlib.asynccontextmanager
    async def reconciling(
        self,
        *,
        holder: str = "one",
        limits: Limits = LIMITS,
        ttl_s: float = 10,
        grace_s: float = 30,
        liveness_s: float = 0,
        command: Sequence[str] = programs.COMMAND,
    ) -> AsyncIterator[Reconciler]:
        driver = LocalDriver(
            data_dir=self.folder,
            nats_url=self.url,
            fetch=self.bundles.get,
            logs=self._logs,
            command=command,
            grace_s=grace_s,
            liveness_s=liveness_s,
        )
        async with open_reconciler(
            self.bus,
            self.store,
            self.board,
            driver,
            holder=holder,
            limits=limits,
            lease_ttl_s=ttl_s,
        ) as reconciler:
            yield reconciler

    async def version(
        self,
        source: str,
        component: str = "api-server",
        *,
        calls: tuple[str, ...] = (),
        routes: tuple[str, ...] = (),
    ) -> PodSpec:
        """Make a component version known: its bundle and its record."""
        spec = self.bundles.add(source, component=component)
        definition = ComponentDefinition(
            name=component,
            dependencies=tuple(Dependency(name=callee) for callee in calls),
            routes=tuple(Route(id=at, rule=rule) for at, rule in enumerate(routes)),
        )
        record = ComponentVersion(app=APP, hash=spec.hash, definition=definition)
        await self.store.put_new(records.component_key(APP, component, spec.hash), record)
        return spec

    async def deploy(self, name: str, *members: PodSpec) -> None:
        components = {each.component: each.hash for each in members}
        deployment = Deployment(name=name, app=APP, components=components)
        key = records.deployment_key(name)
        found = await self.store.get(key)
        if found is None:
            await self.store.create(key, deployment)
        else:
            await self.store.update(key, deployment, found[1])

    async def undeploy(self, name: str) -> None:
        key = records.deployment_key(name)
        found = await self.store.get(key)
        assert found is not None
        await self.store.delete(key, found[1])

    async def wait_pods(
        self, condition: Callable[[tuple[PodStatus, ...]], bool]
    ) -> list[PodStatus]:
        """Return the statuses on the board as soon as ``condition`` holds for them."""
        seen = self.board.changes
        while not condition(self.board.statuses):
            seen = await self.board.wait_change(seen)
        return sorted(self.board.statuses, key=lambda status: (status.component, status.id))

    async def wait_ready(self, *specs: PodSpec) -> list[PodStatus]:
        """Return the statuses as soon as ready pods of exactly these versions are there."""
        wanted = sorted((APP, spec.component, spec.hash) for spec in specs)

        def is_so(statuses: tuple[PodStatus, ...]) -> bool:
            ready = all(status.phase is PodPhase.READY for status in statuses)
            return ready and sorted(status.version for status in statuses) == wanted

        return await self.wait_pods(is_so)

    async def wait_asleep(self, *specs: PodSpec) -> None:
        """Return as soon as exactly these versions sleep, and have no pods."""
        wanted = {(APP, spec.component, spec.hash) for spec in specs}

        def is_so(statuses: tuple[PodStatus, ...]) -> bool:
            asleep = {sleeper.version for sleeper in self.board.sleepers}
            return asleep == wanted and asleep.isdisjoint(each.version for each in statuses)

        await self.wait_pods(is_so)

    async def hear_gone(self) -> None:
        """Note every subject whose last pod died in ``gone``."""

        async def note(payload: bytes, _reply: str) -> None:
            self.gone.append(payload.decode())

        await self.bus.serve(subjects.PODS_GONE, note)


@contextlib.asynccontextmanager
async def open_platform(url: str, folder: Path) -> AsyncIterator[Platform]:
    """Connect to NATS and open the parts."""
    async with (
        buses.connect(url, process_id="test") as bus,
        open_store(bus) as store,
        open_pod_board(bus) as board,
        open_logs(folder / "logs") as logs,
    ):
        platform = Platform(url, bus, store, board, logs, folder)
        await platform.hear_gone()
        yield platform
