"""A reconciler with its dependencies: real NATS, real store, real processes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from broker.dispatch.usage import used_lately
from broker.nats import bus as buses
from broker.nats.access import Access
from broker.nats.bus import Bus
from broker.nats.gone_pods import PodGone
from broker.storage.pod_board import PodBoard, open_pod_board
from broker.storage.store import Store, open_store
from kubefox import records
from kubefox.component import ComponentDefinition, ComponentVersion, Dependency, Route
from kubefox.deployment import Deployment
from kubefox.environment import Environment
from kubefox.pod import PodPhase, PodStatus, RunnerStatus
from pods.base import PodSpec
from pods.idle_controller import FindUsed
from pods.limits import PodLimits
from pods.liveness import NOT_WATCHED, LivenessBounds
from pods.local import LocalDriver
from pods.logins import PodLogins
from pods.logs import PodLogs, open_logs
from pods.reconciler import Reconciler, open_reconciler
from pods.runner_server import serve_runner
from tests.pods import programs
from tests.pods.driver_contract import Bundles
from tests.support import records as build
from tests.support.keys import KEYS

APP = "order-app"
LIMITS = PodLimits(event_ttl_s=5)


class Platform:
    """The dependencies of a reconciler, and the writes of a deployer."""

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
        limits: PodLimits = LIMITS,
        grace_s: float = 30,
        liveness: LivenessBounds = NOT_WATCHED,
        command: Sequence[str] = programs.COMMAND,
        find_used: FindUsed = used_lately,
        adopts_pods: bool = False,
    ) -> AsyncIterator[Reconciler]:
        driver = LocalDriver(
            data_dir=self.folder,
            logins=PodLogins(Access(self.url, None)),
            fetch=self.bundles.get,
            logs=self._logs,
            command=command,
            grace_s=grace_s,
            liveness=liveness,
        )

        async def collect_files() -> None:
            await reconciler.collect_files()

        async with (
            serve_runner(self.bus, holder, self._logs, collect_files),
            open_reconciler(
                self.bus,
                self.store,
                self.board,
                driver,
                runner=RunnerStatus(name=holder),
                limits=limits,
                find_used=find_used,
                adopts_pods=adopts_pods,
            ) as reconciler,
        ):
            yield reconciler

    async def version(
        self,
        source: str,
        component: str = "api-server",
        *,
        calls: tuple[str, ...] = (),
        routes: tuple[str, ...] = (),
    ) -> PodSpec:
        """Store the bundle and the record of a component version."""
        spec = self.bundles.add(source, component=component)
        definition = ComponentDefinition(
            name=component,
            dependencies=tuple(Dependency(name=callee) for callee in calls),
            routes=tuple(Route(id=at, rule=rule) for at, rule in enumerate(routes)),
        )
        record = ComponentVersion(app=APP, hash=spec.hash, definition=definition)
        await self.store.create_if_missing(records.component_key(APP, component, spec.hash), record)
        return spec

    async def deploy(self, name: str, *members: PodSpec) -> None:
        components = {spec.component: spec.hash for spec in members}
        deployment = Deployment(name=name, app=APP, components=components)
        key = records.deployment_key(name)
        found = await self.store.get(key)
        if found is None:
            await self.store.create(key, deployment)
        else:
            await self.store.update(key, deployment, found[1])

    async def release(self, deployment: str) -> None:
        """Release a deployment in a virtual environment of its name, and wait for the snapshot."""
        written: list[tuple[str, records.Record]] = [
            (records.environment_key("dev"), Environment(name="dev")),
            build.virtual_environment(deployment, {}),
            build.active_release(deployment, {APP: deployment}, release_id="r1"),
        ]
        for key, record in written:
            await self.store.wait_revision(await self.store.create(key, record))

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

        def is_reached(statuses: tuple[PodStatus, ...]) -> bool:
            ready = all(status.phase is PodPhase.READY for status in statuses)
            return ready and sorted(status.version for status in statuses) == wanted

        return await self.wait_pods(is_reached)

    async def wait_idle(self, *specs: PodSpec) -> None:
        """Return as soon as exactly these versions are idle, and have no pods."""
        wanted = {(APP, spec.component, spec.hash) for spec in specs}

        def is_reached(statuses: tuple[PodStatus, ...]) -> bool:
            idle = {idle_version.version for idle_version in self.board.idle_versions}
            return idle == wanted and idle.isdisjoint(status.version for status in statuses)

        await self.wait_pods(is_reached)

    async def collect_gone(self) -> None:
        """Append each subject whose last pod died to ``gone``."""

        async def note(payload: bytes, _reply: str) -> None:
            self.gone.append(msgspec.msgpack.decode(payload, type=PodGone).subject)

        await self.bus.serve("pods.gone.>", note)


@contextlib.asynccontextmanager
async def open_platform(url: str, folder: Path) -> AsyncIterator[Platform]:
    """Connect to NATS and open the dependencies of a reconciler."""
    async with (
        buses.connect(url, process_id="test") as bus,
        open_store(bus, KEYS, creates_keys=True) as store,
        open_pod_board(bus) as board,
        open_logs(folder / "logs") as logs,
    ):
        platform = Platform(url, bus, store, board, logs, folder)
        await platform.collect_gone()
        yield platform
