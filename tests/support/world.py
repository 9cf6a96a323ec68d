"""The builder of the worlds that tests need: a data plane, its pods, adapters and telemetry.

``open_world`` builds the part that tests have in common: virtual environments, deployments with a
pod of each component, and releases. A test's own world is a ``World`` with what is special to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

from broker.dispatch.broker import Broker
from broker.nats.bus import Bus
from broker.runtime.settings import Settings
from broker.storage.pod_board import open_pod_board
from broker.telemetry.collector import Collector, open_collector
from fox.kit.kit import Kit
from kubefox.component import ComponentDefinition, Value
from tests.support.data_plane import SETTINGS, DataPlane, open_data_plane

SOON_S = 120
"""Time in which a condition is reached, however slow the machine is."""

Entered = TypeVar("Entered")
Components = Mapping[str, Kit | ComponentDefinition]


class World:
    """A running data plane.

    Attributes:
        plane: Deploys, releases and serves components, and sends them requests.
        pods: Connections of the pods that ``start`` and ``serve`` have started.
    """

    def __init__(self, plane: DataPlane, adapters: contextlib.AsyncExitStack) -> None:
        self.plane = plane
        self.pods: list[Bus] = []
        self._adapters = adapters

    @property
    def broker(self) -> Broker:
        """The broker of the data plane."""
        return self.plane.broker

    @property
    def settings(self) -> Settings:
        """The settings of the data plane."""
        return self.plane.broker.settings

    async def serve(
        self,
        deployment: str,
        kits: Mapping[str, Kit],
        text: str = "v1",
        *,
        released_in: str = "",
        reports_telemetry: bool = False,
    ) -> None:
        """Deploy kits, start a pod of each, and release the deployment in a virtual environment."""
        await self.plane.deploy(deployment, kits, text)
        await self.start(kits, text, reports_telemetry=reports_telemetry)
        if released_in:
            await self.plane.release(released_in, deployment)

    async def start(
        self, kits: Mapping[str, Kit], text: str = "v1", *, reports_telemetry: bool = False
    ) -> None:
        """Start a pod of each kit."""
        for name, kit in kits.items():
            bus, _ = await self.plane.start(name, kit, text, reports_telemetry=reports_telemetry)
            self.pods.append(bus)

    async def enter_adapter(
        self, adapter: contextlib.AbstractAsyncContextManager[Entered]
    ) -> Entered:
        """Run an adapter until the world closes; it stops before the pods do."""
        return await self._adapters.enter_async_context(adapter)

    async def open_collector(self) -> Collector:
        """Collect the telemetry of all processes until the world closes."""
        bus = self.broker.bus
        board = await self._adapters.enter_async_context(open_pod_board(bus))
        return await self._adapters.enter_async_context(open_collector(bus, board))

    async def wait_idle(self) -> None:
        """Return when no event is in flight and no stream is open in any process."""
        streams = [bus.streams for bus in (self.broker.bus, *self.pods)]
        async with asyncio.timeout(SOON_S):
            while any(map(len, streams)) or self.broker.in_flight:
                await asyncio.sleep(0)

    async def wait_reconnected(self) -> None:
        """Return when the broker and every pod are connected to NATS."""
        async with asyncio.timeout(SOON_S):
            while not (self.broker.is_ready and all(bus.is_ready for bus in self.pods)):
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def open_world(
    url: str,
    settings: Settings = SETTINGS,
    *,
    environments: Mapping[str, Mapping[str, Value]] | None = None,
    deployments: Mapping[str, Components] | None = None,
    released: Mapping[str, str] | None = None,
) -> AsyncIterator[World]:
    """Open a world; no pod runs in it yet.

    Args:
        url: Of the nats-server.
        settings: Of the broker and the pods.
        environments: Variables of each virtual environment; ``team-a`` without any by default.
        deployments: Components of each deployment.
        released: Deployment that is released in each virtual environment.
    """
    async with (
        open_data_plane(url, settings) as plane,
        contextlib.AsyncExitStack() as adapters,
    ):
        for name, variables in ({"team-a": {}} if environments is None else environments).items():
            await plane.virtual_environment(name, **variables)
        for name, components in (deployments or {}).items():
            await plane.deploy(name, components)
        for virtual_environment, name in (released or {}).items():
            await plane.release(virtual_environment, name)
        yield World(plane, adapters)
