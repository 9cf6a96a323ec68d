"""Streams between two buses, and conditions to wait for."""

from __future__ import annotations

import asyncio

from broker.nats.bus import Bus
from broker.streams.incoming import IncomingStream
from broker.streams.outgoing import OutgoingStream
from kubefox import subjects

API = subjects.component("shop", "api", "a" * 32)
SOON_S = 120


def pair(sender: Bus, receiver: Bus, component: str = "") -> tuple[OutgoingStream, IncomingStream]:
    outgoing = sender.streams.open_outgoing()
    return outgoing, receiver.streams.open_incoming(outgoing.subject, component)


async def read(incoming: IncomingStream) -> bytes:
    with incoming:
        return b"".join([chunk async for chunk in incoming])


async def opened(one: Bus, two: Bus, component: str = "") -> tuple[OutgoingStream, IncomingStream]:
    """Return a stream of which the first chunk has been read."""
    # In the platform, a process has subscribed before it sends a stream's subject.
    await one.flush()
    await two.flush()
    outgoing, incoming = pair(one, two, component)
    first = asyncio.ensure_future(anext(incoming))
    await outgoing.wait_opened()
    await outgoing.send(b"first")
    assert await first == b"first"
    return outgoing, incoming


async def wait_empty(*buses_: Bus) -> None:
    async with asyncio.timeout(SOON_S):
        while any(len(bus.streams) for bus in buses_):
            await asyncio.sleep(0)
