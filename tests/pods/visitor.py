"""A client of a deployment: its requests go through a broker, as those of an adapter do."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from broker.dispatch.broker import Broker, open_broker
from broker.dispatch.request import DispatchRequest
from broker.nats import bus as buses
from broker.runtime.ids import new_id
from broker.runtime.settings import Settings
from kubefox import records
from kubefox.environment import Environment, VirtualEnvironment
from routing.request import GenesisRequest
from routing.selectors import Selectors
from routing.snapshot.route_binding import Target
from tests.pods.platform import Platform
from tests.support.keys import KEYS

EVENT_TTL_S = 120.0
"""How long a request may take on a machine that is busy with other tests."""


class Visitor:
    """Sends requests to the deployment ``v1`` as an adapter does."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def get(self, path: str = "/", query: str = "") -> str:
        """Return the answer's text; raise the error that stopped it."""
        target = self._target(path)
        _, body = await self.broker.dispatch(
            DispatchRequest(
                target=self.broker.dispatch_target(target),
                request=GenesisRequest(path=path, query=query),
                event_id=new_id(),
                source="adapter/http",
                handler=target.route,
            )
        )
        assert isinstance(body, bytes)
        return body.decode()

    def _target(self, path: str) -> Target:
        selectors = Selectors(deployment="v1", virtual_environment="here")
        return self.broker.resolve(GenesisRequest(path=path), selectors).target


@contextlib.asynccontextmanager
async def visiting(platform: Platform) -> AsyncIterator[Visitor]:
    """Open a broker and a virtual environment ``here``."""
    await platform.store.create(records.environment_key("base"), Environment(name="base"))
    here = VirtualEnvironment(name="here", environment="base")
    revision = await platform.store.create(records.virtual_environment_key("here"), here)
    async with (
        buses.connect(platform.url, process_id="visitor") as bus,
        open_broker(bus, Settings(event_ttl_s=EVENT_TTL_S), KEYS, creates_keys=True) as broker,
    ):
        await broker.store.wait_revision(revision)
        yield Visitor(broker)
