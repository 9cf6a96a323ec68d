"""Control plane data for adapters to work on, written as the control plane writes it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import msgspec

from broker import bus as buses
from broker.broker import Broker, open_broker
from broker.bus import Bus
from broker.settings import Settings
from fox.kit.response import Response
from model import codec, records, subjects
from model.component import ComponentDefinition, ComponentVersion
from model.context import EventContext, seal, source_name
from model.deployment import Deployment
from model.environment import Environment, VirtualEnvironment
from model.errors import NatsUnavailable, from_detail
from model.event import Event, EventType, Headers
from model.records import Record
from model.release import Release, ReleasedApp, ReleaseState
from tests.support.nats import NatsServer

SETTINGS = Settings(http_port=0, drain_s=5, event_ttl_s=5)
DIGEST = "a" * 32


@contextlib.asynccontextmanager
async def open_test_broker(url: str, process_id: str) -> AsyncIterator[Broker]:
    async with (
        buses.connect(url, process_id=process_id) as bus,
        open_broker(bus, SETTINGS) as broker,
    ):
        yield broker


async def stop_nats(server: NatsServer, bus: Bus) -> None:
    """Stop the server, and return when the bus has noticed."""

    async def keep_silent(payload: bytes, reply: str) -> None:
        pass

    await bus.serve("silence", keep_silent)
    asked = asyncio.create_task(bus.request("silence", b"", timeout_s=60))
    await asyncio.to_thread(server.stop)
    with contextlib.suppress(NatsUnavailable):
        await asked


class World:
    """Writes records through a broker's store and waits until its snapshot holds them."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def write(self, key: str, record: Record) -> None:
        held = await self.broker.store.get(key)
        if held is None:
            revision = await self.broker.store.create(key, record)
        else:
            revision = await self.broker.store.update(key, record, held[1])
        await self.broker.store.wait_revision(revision)

    async def virtual(self, name: str) -> None:
        await self.write(records.environment_key("dev"), Environment(name="dev"))
        virtual = VirtualEnvironment(name=name, environment="dev")
        await self.write(records.virtual_environment_key(name), virtual)

    async def deploy(self, name: str, app: str, *definitions: ComponentDefinition) -> None:
        for each in definitions:
            version = ComponentVersion(app=app, hash=DIGEST, definition=each)
            key = records.component_key(app, each.name, DIGEST)
            await self.broker.store.put_new(key, version)
        components = {each.name: DIGEST for each in definitions}
        deployment = Deployment(name=name, app=app, components=components)
        await self.write(records.deployment_key(name), deployment)

    async def release(self, virtual_environment: str, app: str, deployment: str) -> None:
        release = Release(
            id=f"{virtual_environment}-{time.monotonic_ns()}",
            apps={app: ReleasedApp(deployment=deployment)},
            manifest=None,
            requested_at_s=1,
            activated_at_s=1,
        )
        state = ReleaseState(virtual_environment=virtual_environment, active=release)
        await self.write(records.release_key(virtual_environment), state)

    async def withdraw(self, virtual_environment: str) -> None:
        state = ReleaseState(virtual_environment=virtual_environment)
        await self.write(records.release_key(virtual_environment), state)

    def context(self, app: str, deployment: str, virtual_environment: str) -> EventContext:
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


class ComponentInContext:
    """Calls adapters as a component does in one context; see ``fox.kit.state_store.Caller``."""

    def __init__(
        self, broker: Broker, context: EventContext, key: bytes, *, component: str = "api"
    ) -> None:
        self._broker = broker
        self._event = Event(
            id="test-1",
            genesis_id="test-1",
            type=EventType.COMPONENT,
            context=seal(context, key),
            source=source_name(component, DIGEST),
            deadline_ms=0,
        )

    async def request(
        self,
        dependency: str,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Headers = (),
        body: bytes = b"",
    ) -> Response:
        event = msgspec.structs.replace(
            self._event,
            deadline_ms=int((time.time() + SETTINGS.event_ttl_s) * 1000),
            method=method,
            path=path,
            query=query,
            headers=headers,
        )
        frame = await self._broker.bus.request(
            subjects.adapter(dependency), codec.encode(event, body), SETTINGS.event_ttl_s
        )
        head, content = codec.decode_response(frame)
        if head.error is not None:
            raise from_detail(head.error)
        if head.stream:
            with self._broker.bus.streams.receive(head.stream) as incoming:
                content = b"".join([each async for each in incoming])
        return Response.from_wire(head, content)
