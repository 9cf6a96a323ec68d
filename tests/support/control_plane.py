"""A whole control plane on a real nats-server, and small apps to deploy on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec

from adapters.cron_schedule import parse as check_schedule
from broker import bus as buses
from broker.bundles import open_bundles
from broker.bus import Bus
from broker.control.control import Control
from broker.pod_board import open_pod_board
from broker.state_buckets import StateBuckets
from broker.store import open_store
from model import bundle
from model.component import (
    ComponentDefinition,
    ComponentVersion,
    Dependency,
    DependencyKind,
    Route,
    Schedule,
    Variable,
)
from model.deployment import Deployment, SourceRef
from model.digest import FileMode, RuntimeSpec, SourceFile, content_hash
from model.environment import (
    Environment,
    EnvironmentData,
    PolicyType,
    ReleasePolicy,
    VirtualEnvironment,
)
from model.pod import PodPhase, PodStatus

APP = "order-app"
ADAPTERS = frozenset({"state-store", "http"})


def code(name: str, text: str) -> tuple[SourceFile, ...]:
    """Return the files of a component."""
    path = f"components/{name}/main.py"
    return (SourceFile(path=path, mode=FileMode.REGULAR, content=text.encode()),)


def component(
    name: str,
    text: str = "v1",
    *,
    app: str = APP,
    routes: Iterable[str] = (),
    calls: Iterable[str] = (),
    adapters: Iterable[str] = (),
    variables: Iterable[str] = (),
    crons: Iterable[str] = (),
) -> ComponentVersion:
    """Return a component version whose hash is that of ``text``."""
    return ComponentVersion(
        app=app,
        hash=content_hash(code(name, text), RuntimeSpec()),
        definition=ComponentDefinition(
            name=name,
            routes=tuple(Route(id=at, rule=rule) for at, rule in enumerate(routes)),
            dependencies=(
                *(Dependency(name=each) for each in calls),
                *(Dependency(name=each, kind=DependencyKind.ADAPTER) for each in adapters),
            ),
            variables=tuple(Variable(name=each) for each in variables),
            schedules=tuple(Schedule(id=at, cron=each) for at, each in enumerate(crons)),
            has_default_handler=True,
        ),
    )


def deployment(
    name: str,
    *components: ComponentVersion,
    version: str | None = None,
    source: SourceRef | None = None,
) -> Deployment:
    """Return a deployment of components, which are all of one app."""
    return Deployment(
        name=name,
        app=components[0].app,
        components={each.name: each.hash for each in components},
        version=version,
        source=source or SourceRef(),
    )


def pods_of(*components: ComponentVersion, phase: PodPhase = PodPhase.READY) -> list[PodStatus]:
    """Return the status of one pod for each component version."""
    return [
        PodStatus(
            id=f"{each.name}-{each.hash[:12]}-x1",
            app=each.app,
            component=each.name,
            hash=each.hash,
            phase=phase,
        )
        for each in components
    ]


class Plane:
    """A control plane and shortcuts to what most tests do with it."""

    def __init__(self, bus: Bus, control: Control) -> None:
        self.bus = bus
        self.control = control
        self.store = control.store

    async def upload(self, name: str, text: str = "v1") -> str:
        """Upload a component's code and return its hash."""
        files = code(name, text)
        digest = content_hash(files, RuntimeSpec())
        await self.control.upload(digest, bundle.pack(files, RuntimeSpec()))
        return digest

    async def deploy(
        self, name: str, *components: ComponentVersion, version: str | None = None
    ) -> Deployment:
        """Deploy components whose code has not been uploaded under this text; return it."""
        for each in components:
            await self.control.bundles.put(each.hash, b"code")
        wanted = deployment(name, *components, version=version)
        return (await self.control.deployments.deploy(wanted, components)).object

    async def environments(
        self, *names: str, policy: PolicyType = PolicyType.STABLE, deadline_s: float = 300
    ) -> None:
        """Make environment ``dev`` and virtual environments over it; each has its subPath."""
        put = self.control.environments.put
        release_policy = ReleasePolicy(type=policy, activation_deadline_s=deadline_s)
        await put(Environment(name="dev", release_policy=release_policy))
        for name in names:
            data = EnvironmentData(vars={"subPath": name}, secrets={"token": f"of-{name}"})
            await put(VirtualEnvironment(name=name, environment="dev", data=data))

    async def publish(self, *statuses: PodStatus) -> None:
        """Put pods on the board and return when it shows them."""
        for status in statuses:
            await self.control.board.publish(status)
        await self.wait_board(lambda: set(statuses) <= set(self.control.board.statuses))

    async def wait_board(self, condition: Callable[[], bool]) -> None:
        """Return when the board fulfils ``condition``."""
        seen = self.control.board.changes
        while not condition():
            seen = await self.control.board.wait_change(seen)

    async def wait_disconnected(self) -> None:
        """Return when this process knows that NATS is away."""
        while self.bus.is_ready:
            await asyncio.sleep(0)

    async def wait_data(self, condition: Callable[[], bool]) -> None:
        """Return when the snapshot fulfils ``condition``."""
        while not condition():
            await self.store.wait_change(self.store.snapshot.revision)


@contextlib.asynccontextmanager
async def open_plane(url: str, process_id: str = "control") -> AsyncIterator[Plane]:
    """Connect a control plane to a nats-server; its activator does not run yet."""
    async with (
        buses.connect(url, process_id=process_id) as bus,
        open_store(bus) as store,
        open_pod_board(bus) as board,
    ):
        control = Control(
            store,
            await open_bundles(bus),
            board,
            adapters=ADAPTERS,
            check_schedule=check_schedule,
            states=StateBuckets(bus),
        )
        yield Plane(bus, control)


def from_commit(wanted: Deployment, commit: str) -> Deployment:
    """Return a deployment as if it came from another commit."""
    return msgspec.structs.replace(wanted, source=SourceRef(commit=commit))
