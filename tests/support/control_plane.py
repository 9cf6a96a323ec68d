"""A control plane on a real nats-server, and small apps to deploy on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

import msgspec

from adapters.cron.schedule import parse as check_schedule
from broker.dispatch.key_rotation import KeyRotation
from broker.events.outbox import hashes_with_events
from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.storage.bundles import open_bundles
from broker.storage.pod_board import open_pod_board
from broker.storage.state_buckets import StateBuckets
from broker.storage.store import open_store
from control.control_plane import ControlPlane
from control.listing.list_kind import ListQuery
from control.listing.listing import Listing
from control.listing.page import Object, Page
from kubefox import bundle
from kubefox.component import (
    ComponentDefinition,
    ComponentVersion,
    Dependency,
    DependencyKind,
    Route,
    Schedule,
    Variable,
)
from kubefox.deployment import Deployment, SourceRef
from kubefox.digest import FileMode, RuntimeSpec, SourceFile, content_hash
from kubefox.environment import (
    Environment,
    EnvironmentData,
    PolicyType,
    ReleasePolicy,
    VirtualEnvironment,
)
from kubefox.pod import PodPhase, PodStatus
from tests.support.keys import KEYS
from tests.support.nats import ANSWER_S

APP = "order-app"
ADAPTERS = frozenset({"state-store", "http"})
SHARE_KEY = b"key of shares".ljust(32)


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
                *(Dependency(name=name) for name in calls),
                *(Dependency(name=name, kind=DependencyKind.ADAPTER) for name in adapters),
            ),
            variables=tuple(Variable(name=name) for name in variables),
            schedules=tuple(Schedule(id=at, cron=cron) for at, cron in enumerate(crons)),
            has_default_handler=True,
        ),
    )


def deployment(
    name: str,
    *components: ComponentVersion,
    version: str | None = None,
    source: SourceRef | None = None,
) -> Deployment:
    """Return a deployment of components of one app."""
    return Deployment(
        name=name,
        app=components[0].app,
        components={component.name: component.hash for component in components},
        version=version,
        source=source or SourceRef(),
    )


def pods_of(*components: ComponentVersion, phase: PodPhase = PodPhase.READY) -> list[PodStatus]:
    """Return the status of one pod for each component version."""
    return [
        PodStatus(
            id=f"{component.name}-{component.hash[:12]}-x1",
            app=component.app,
            component=component.name,
            hash=component.hash,
            phase=phase,
        )
        for component in components
    ]


async def listed(
    listing: Listing[Any], kind: type[Object], query: ListQuery | None = None
) -> list[Object]:
    """Return the objects of a list's first page."""
    page = await listing.page(query or ListQuery())
    return [*msgspec.json.decode(page.body, type=Page[kind]).items]  # type: ignore[valid-type]


class Plane:
    """A control plane, with shortcuts for common steps of tests."""

    def __init__(self, bus: Bus, control: ControlPlane) -> None:
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
        """Deploy components with some code, and return the deployment."""
        for component in components:
            await self.control.bundles.put(component.hash, b"code")
        wanted = deployment(name, *components, version=version)
        return (await self.control.deployments.deploy(wanted, components)).object

    async def environments(
        self, *names: str, policy: PolicyType = PolicyType.STABLE, deadline_s: float = 300
    ) -> None:
        """Create environment ``dev`` and virtual environments of it, each with its own subPath."""
        put = self.control.environments.put
        release_policy = ReleasePolicy(type=policy, activation_deadline_s=deadline_s)
        await put(Environment(name="dev", release_policy=release_policy))
        for name in names:
            data = EnvironmentData(vars={"subPath": name}, secrets={"token": f"of-{name}"})
            await put(VirtualEnvironment(name=name, environment="dev", data=data))

    async def publish(self, *statuses: PodStatus) -> None:
        """Publish pod statuses, and return when the board has them."""
        for status in statuses:
            await self.control.board.publish(status)
        await self.wait_board(lambda: set(statuses) <= set(self.control.board.statuses))

    async def wait_board(self, condition: Callable[[], bool]) -> None:
        """Return when the board fulfils ``condition``."""
        seen = self.control.board.changes
        while not condition():
            seen = await self.control.board.wait_change(seen)

    async def wait_disconnected(self) -> None:
        """Return when this process has noticed that it is not connected to NATS."""
        while self.bus.is_ready:
            await asyncio.sleep(0)

    async def wait_data(self, condition: Callable[[], bool]) -> None:
        """Return when the snapshot fulfils ``condition``."""
        while not condition():
            await self.store.wait_change(self.store.snapshot.revision)


@contextlib.asynccontextmanager
async def open_plane(url: str, process_id: str = "control") -> AsyncIterator[Plane]:
    """Connect a control plane to a nats-server, without its activator."""
    async with (
        buses.connect(url, process_id=process_id, jetstream_timeout_s=ANSWER_S) as bus,
        open_store(bus, KEYS, creates_keys=True) as store,
        open_pod_board(bus) as board,
    ):
        control = ControlPlane(
            store,
            await open_bundles(bus),
            board,
            adapters=ADAPTERS,
            check_schedule=check_schedule,
            states=StateBuckets(bus),
            keys=KeyRotation(bus, store, settle_s=0),
            find_waiting=partial(hashes_with_events, bus),
            share_keys=lambda: (SHARE_KEY,),
        )
        yield Plane(bus, control)


def from_commit(wanted: Deployment, commit: str) -> Deployment:
    """Return a deployment with another commit as its source."""
    return msgspec.structs.replace(wanted, source=SourceRef(commit=commit))
