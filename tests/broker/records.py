"""A record for the tests of the store, and conditions to wait for."""

from __future__ import annotations

import asyncio

from broker.nats.bus import Bus
from broker.storage.store import Store
from kubefox.environment import Environment, EnvironmentData

KEY = "environment.dev"


def dev(colour: str = "red") -> Environment:
    return Environment(name="dev", data=EnvironmentData(vars={"colour": colour}))


async def wait_current(store: Store) -> None:
    while not store.is_current:
        await asyncio.sleep(0)


async def wait_disconnected(bus: Bus) -> None:
    while bus.is_ready:
        await asyncio.sleep(0)
