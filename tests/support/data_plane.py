"""A broker on a real nats-server, and kits served as in pods, each on its own connection."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping

from broker.dispatch.broker import Broker, open_broker
from broker.dispatch.event_sender import EventSender
from broker.dispatch.receiver import Receiver
from broker.dispatch.receiving import receive
from broker.dispatch.request import DispatchRequest
from broker.events.remote_outbox import RemoteOutbox
from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.runtime.ids import EventIds, new_id
from broker.runtime.settings import Settings
from broker.runtime.tokens import new_token
from broker.streams.bodies import BodyMemory
from broker.streams.incoming import IncomingStream
from broker.telemetry.telemetry import Telemetry, open_telemetry
from fox.kit.kit import Kit
from fox.kit.response import Response
from fox.kit.runs import Runs
from fox.kit.server import ComponentServer
from fox.kit.variables import Identity
from kubefox import records, subjects
from kubefox.component import ComponentDefinition, Value, short
from kubefox.context import EventContext, adapter_source
from kubefox.deployment import Deployment
from kubefox.environment import Environment
from kubefox.records import Record
from kubefox.release import ReleaseState
from routing.request import GenesisRequest
from routing.selectors import Selectors
from routing.snapshot.route_binding import Target
from tests.support import records as build
from tests.support.keys import KEYS
from tests.support.nats import ANSWER_S

APP = "shop"
SETTINGS = Settings(http_port=0, event_ttl_s=20, drain_s=20)


def digest(text: str) -> str:
    """Return the content hash that stands for ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class DataPlane:
    """Deploys and serves kits, and sends them requests; on return, the snapshot has each write."""

    def __init__(self, url: str, broker: Broker, pods: contextlib.AsyncExitStack) -> None:
        self.url = url
        self.broker = broker
        self._pods = pods

    async def write(self, key: str, record: Record) -> int:
        """Create or update a record, and return its revision."""
        store = self.broker.store
        held = await store.get(key)
        if held is None:
            revision = await store.create(key, record)
        else:
            revision = await store.update(key, record, held[1])
        await store.wait_revision(revision)
        return revision

    async def delete(self, key: str) -> None:
        """Delete an existing record."""
        store = self.broker.store
        before = store.snapshot.revision
        await store.delete(key, store.snapshot.revision_of(key))
        await store.wait_change(before)

    async def virtual_environment(self, name: str, **variables: Value) -> None:
        """Write a virtual environment of environment ``dev``, which is created if it is missing."""
        key = records.environment_key("dev")
        if await self.broker.store.get(key) is None:
            await self.write(key, Environment(name="dev"))
        await self.write(*build.virtual_environment(name, variables))

    async def deploy(
        self,
        name: str,
        components: Mapping[str, Kit | ComponentDefinition],
        text: str = "v1",
        *,
        app: str = APP,
    ) -> Deployment:
        """Deploy components, each under ``digest(text)``; no pod is started."""
        for component, declared in components.items():
            definition = declared.definition(component) if isinstance(declared, Kit) else declared
            key, version = build.component(app, definition, digest(text))
            await self.broker.store.create_if_missing(key, version)
        hashes = dict.fromkeys(components, digest(text))
        key, deployment = build.deployment(name, app, hashes)
        await self.write(key, deployment)
        return deployment

    async def release(self, virtual_environment: str, deployment: str) -> None:
        """Make a deployment the live release of a virtual environment."""
        release_id = f"release-of-{deployment}"
        state = build.active_release(virtual_environment, {APP: deployment}, release_id=release_id)
        await self.write(*state)

    async def withdraw(self, virtual_environment: str) -> None:
        """End the release of a virtual environment."""
        state = ReleaseState(virtual_environment=virtual_environment)
        await self.write(records.release_key(virtual_environment), state)

    def context(self, app: str, deployment: str, virtual_environment: str) -> EventContext:
        """Return the context of events that select a deployment and a virtual environment."""
        revision_of = self.broker.snapshot.revision_of
        return EventContext(
            app,
            deployment,
            virtual_environment,
            deployment_revision=revision_of(records.deployment_key(deployment)),
            virtual_environment_revision=revision_of(
                records.virtual_environment_key(virtual_environment)
            ),
            environment_revision=revision_of(records.environment_key("dev")),
        )

    @contextlib.asynccontextmanager
    async def serving(
        self,
        component: str,
        kit: Kit,
        text: str = "v1",
        *,
        reports_telemetry: bool = False,
        replica: int = 1,
    ) -> AsyncIterator[tuple[Bus, Receiver]]:
        """Serve a kit as a pod does, while the context lasts."""
        pod_id = f"{component}-{short(digest(text))}-{replica}"
        identity = Identity(app=APP, component=component, hash=digest(text), pod=pod_id)
        settings = self.broker.settings
        telemetry = Telemetry(component, identity.pod, is_on=reports_telemetry, ids=EventIds())
        async with contextlib.AsyncExitStack() as pod:
            process_id = subjects.pod_process_id(pod_id, new_token())
            connecting = buses.connect(
                self.url, process_id=process_id, follows_all_pods=False, sender=identity.sender
            )
            bus = await pod.enter_async_context(connecting)
            bus.streams.idle_timeout_s = settings.stream_idle_s
            if reports_telemetry:
                await pod.enter_async_context(open_telemetry(telemetry, bus))
            bodies = BodyMemory(settings.body_limit_bytes, settings.body_memory_bytes)
            runs = Runs(bus, process_id)
            sender = EventSender(bus, identity.sender, follow=bus.follow_pods)
            outbox = RemoteOutbox(bus, identity.sender)
            server = ComponentServer(
                kit, identity, bus, telemetry, outbox, bodies, sender=sender, runs=runs
            )
            subject = subjects.component(APP, component, digest(text))
            await pod.enter_async_context(runs.serving(bus, subject))
            receiving = receive(
                bus,
                subject,
                subjects.PODS_QUEUE,
                server.handle,
                source=server.source,
                handle_stream=server.handle_stream,
                responder=telemetry.process,
                on_first_event=telemetry.wake,
            )
            receiver = await pod.enter_async_context(receiving)
            telemetry.rest_while(lambda: not receiver.in_flight)
            server.prepare = receiver.prepare
            yield bus, receiver

    async def start(
        self,
        component: str,
        kit: Kit,
        text: str = "v1",
        *,
        reports_telemetry: bool = False,
        replica: int = 1,
    ) -> tuple[Bus, Receiver]:
        """Serve a kit as a pod does, until the data plane closes."""
        serving = self.serving(
            component, kit, text, reports_telemetry=reports_telemetry, replica=replica
        )
        return await self._pods.enter_async_context(serving)

    async def enter(self, context: contextlib.AbstractAsyncContextManager[object]) -> None:
        """Keep a context until the data plane closes."""
        await self._pods.enter_async_context(context)

    def target(self, path: str, deployment: str, virtual_environment: str) -> Target:
        """Return the routing target of GET ``path``."""
        selectors = Selectors(deployment=deployment, virtual_environment=virtual_environment)
        return self.broker.resolve(GenesisRequest(path=path), selectors).target

    async def get(self, path: str, deployment: str, virtual_environment: str) -> Response:
        """Send GET as an adapter does, and return the response."""
        target = self.target(path, deployment, virtual_environment)
        head, content = await self.broker.dispatch(
            DispatchRequest(
                target=self.broker.dispatch_target(target),
                request=GenesisRequest(path=path),
                event_id=new_id(),
                source=adapter_source("http"),
                handler=target.route,
            )
        )
        assert not isinstance(content, IncomingStream)
        return Response.from_wire(head, content)


@contextlib.asynccontextmanager
async def open_data_plane(
    url: str, settings: Settings = SETTINGS, process_id: str = "broker"
) -> AsyncIterator[DataPlane]:
    """Open a broker; pods started on it end first."""
    async with (
        buses.connect(url, process_id=process_id, jetstream_timeout_s=ANSWER_S) as bus,
        open_broker(bus, settings, KEYS, creates_keys=True) as broker,
        contextlib.AsyncExitStack() as pods,
    ):
        yield DataPlane(url, broker, pods)
