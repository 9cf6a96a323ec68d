"""A pod that answers its events when the test says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from broker.dispatch.handling import Reply
from broker.dispatch.receiving import receive
from broker.nats import bus as buses
from broker.nats.bus import Bus
from kubefox import codec, subjects
from kubefox.event import Event
from tests.support.receiving import event
from tests.support.senders import sent_by

API = subjects.component("shop", "api", "a" * 32)
BY_TEST = sent_by("test", API)


class WaitingPod:
    """A pod whose events wait for ``released``; ``held`` counts those that it handles."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.held = 0
        self.released = asyncio.Event()

    async def handle(self, _event: Event, _body: codec.Body) -> Reply:
        self.held += 1
        await self.released.wait()
        return Reply(body=self.name.encode())


@contextlib.asynccontextmanager
async def serving(url: str, pod: WaitingPod) -> AsyncIterator[Bus]:
    process_id = subjects.pod_process_id(pod.name, "1")
    async with (
        buses.connect(url, process_id=process_id) as bus,
        receive(bus, API, "pods", pod.handle, source="api@1", pod=pod.name),
    ):
        yield bus


def frame() -> bytes:
    """Return an event without a body."""
    return codec.encode(event(), b"")
