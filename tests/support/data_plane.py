"""A broker on a real nats-server, with kits served on connections of their own, as pods are."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping

from broker import bus as buses
from broker.bodies import Bodies
from broker.broker import Broker, open_broker
from broker.bus import Bus
from broker.ids import new_id
from broker.outbox import Outbox
from broker.receiver import Receiver, receive
from broker.settings import Settings
from broker.stream import Incoming
from fox.kit.context import Identity
from fox.kit.kit import Kit
from fox.kit.response import Response
from fox.kit.server import ComponentServer
from model import records, subjects
from model.component import ComponentDefinition, ComponentVersion, Value
from model.context import adapter_source
from model.deployment import Deployment
from model.environment import Environment, EnvironmentData, VirtualEnvironment
from model.event import EventType
from model.records import Record
from model.release import Release, ReleasedApp, ReleaseState
from routing.bindings import Target
from routing.request import GenesisRequest
from routing.selectors import Selectors

APP = "shop"
SETTINGS = Settings(http_port=0, event_ttl_s=20, drain_s=20)


def digest(text: str) -> str:
    """Return a content hash, told apart by ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class DataPlane:
    """Deploys kits, serves them, and sends them requests; each method returns when it is seen."""

    def __init__(self, url: str, broker: Broker, pods: contextlib.AsyncExitStack) -> None:
        self.url = url
        self.broker = broker
        self._pods = pods

    async def write(self, key: str, record: Record) -> int:
        """Write a record over whatever is there, and return its revision."""
        store = self.broker.store
        held = await store.get(key)
        if held is None:
            revision = await store.create(key, record)
        else:
            revision = await store.update(key, record, held[1])
        await store.wait_revision(revision)
        return revision

    async def delete(self, key: str) -> None:
        """Delete a record that is there."""
        store = self.broker.store
        before = store.snapshot.revision
        await store.delete(key, store.snapshot.revision_of(key))
        await store.wait_change(before)

    async def virtual_environment(self, name: str, **variables: Value) -> None:
        """Write a virtual environment over environment ``dev``, which is made when missing."""
        key = records.environment_key("dev")
        if await self.broker.store.get(key) is None:
            await self.write(key, Environment(name="dev"))
        data = EnvironmentData(vars=variables)
        virtual = VirtualEnvironment(name=name, environment="dev", data=data)
        await self.write(records.virtual_environment_key(name), virtual)

    async def deploy(
        self, name: str, components: Mapping[str, Kit | ComponentDefinition], text: str = "v1"
    ) -> Deployment:
        """Deploy components, each under ``digest(text)``; no pod is started."""
        for component, declared in components.items():
            definition = declared.definition(component) if isinstance(declared, Kit) else declared
            version = ComponentVersion(app=APP, hash=digest(text), definition=definition)
            key = records.component_key(APP, component, digest(text))
            await self.broker.store.put_new(key, version)
        hashes = dict.fromkeys(components, digest(text))
        deployment = Deployment(name=name, app=APP, components=hashes)
        await self.write(records.deployment_key(name), deployment)
        return deployment

    async def release(self, virtual_environment: str, deployment: str) -> None:
        """Make a deployment the live release of a virtual environment."""
        release = Release(
            id=f"release-of-{deployment}",
            apps={APP: ReleasedApp(deployment=deployment)},
            manifest=None,
            requested_at_s=1,
            activated_at_s=1,
        )
        state = ReleaseState(virtual_environment=virtual_environment, active=release)
        await self.write(records.release_key(virtual_environment), state)

    async def start(self, component: str, kit: Kit, text: str = "v1") -> tuple[Bus, Receiver]:
        """Serve a kit until the data plane closes."""
        pods = self._pods
        identity = Identity(app=APP, component=component, hash=digest(text), pod=f"{component}-1")
        process_id = f"{component}-{digest(text)[:12]}"
        bus = await pods.enter_async_context(buses.connect(self.url, process_id=process_id))
        settings = self.broker.settings
        bus.streams.idle_s = settings.stream_idle_s
        bodies = Bodies(settings.body_limit_bytes, settings.body_memory_bytes)
        server = ComponentServer(kit, identity, bus, store=Outbox(bus), bodies=bodies)
        subject = subjects.component(APP, component, digest(text))
        serving = receive(
            bus,
            subject,
            subjects.PODS_QUEUE,
            server.handle,
            source=server.source,
            handle_stream=server.handle_stream,
        )
        return bus, await pods.enter_async_context(serving)

    async def enter(self, context: contextlib.AbstractAsyncContextManager[object]) -> None:
        """Keep a context until the data plane closes."""
        await self._pods.enter_async_context(context)

    def target(self, path: str, deployment: str, virtual_environment: str) -> Target:
        """Return where GET of ``path`` goes."""
        selectors = Selectors(deployment=deployment, virtual_environment=virtual_environment)
        return self.broker.resolve(GenesisRequest(path=path), selectors).target

    async def get(self, path: str, deployment: str, virtual_environment: str) -> Response:
        """Send GET as an adapter does; raise the error that stopped it."""
        target = self.target(path, deployment, virtual_environment)
        head, content = await self.broker.dispatch(
            self.broker.lane(target),
            event_id=new_id(),
            type=EventType.HTTP,
            source=adapter_source("http"),
            handler=target.route,
            path=path,
        )
        assert not isinstance(content, Incoming)
        return Response.from_wire(head, content)


@contextlib.asynccontextmanager
async def open_data_plane(
    url: str, settings: Settings = SETTINGS, process_id: str = "broker"
) -> AsyncIterator[DataPlane]:
    """Open a broker; pods started on it end first."""
    async with (
        buses.connect(url, process_id=process_id) as bus,
        open_broker(bus, settings) as broker,
        contextlib.AsyncExitStack() as pods,
    ):
        yield DataPlane(url, broker, pods)
