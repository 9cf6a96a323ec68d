"""The parts of the cron tests: a clock that tests move, a pod and a log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from broker.dispatch.broker import Broker
from broker.dispatch.handling import Reply
from broker.dispatch.receiving import receive
from broker.streams.body_sender import StreamedBody
from kubefox import subjects
from kubefox.codec import Body
from kubefox.component import ComponentDefinition, Schedule
from kubefox.errors import FoxError
from kubefox.event import Event
from tests.support.data_plane import APP, digest
from tests.support.world import World

MINUTELY = Schedule(id=0, cron="* * * * *")
# 2026-03-01T12:00:30Z: half a minute from any tick of MINUTELY.
START_S = 1_772_366_430.0
FIRST_TICK = "2026-03-01T12:01:00+00:00"
SECOND_TICK = "2026-03-01T12:02:00+00:00"
THIRD_TICK = "2026-03-01T12:03:00+00:00"
SOON_S = 120


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = START_S

    def __call__(self) -> float:
        return self.now_s


class Pod:
    """Serves order-worker, and keeps the events it gets."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.seen: list[Event] = []
        self.status = 200
        self.error: FoxError | None = None
        self.stream: StreamedBody | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, event: Event, _body: Body) -> Reply:
        self.seen.append(event)
        self.events.put_nowait(event)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Reply(self.status, stream=self.stream)

    async def next_event(self) -> Event:
        async with asyncio.timeout(SOON_S):
            return await self.events.get()

    async def ticks(self, count: int) -> list[str]:
        return [(await self.next_event()).params["tick"] for _ in range(count)]


class Cron:
    """A world with cron adapters on a clock that tests move."""

    def __init__(self, world: World, clock: Clock) -> None:
        self.world = world
        self.clock = clock

    async def pass_by(self, seconds: float) -> None:
        """Move the clock, and wake the adapters by a change of data instead of their timer.

        The change before it ensures that the adapters have seen all earlier changes.
        """
        await self.world.plane.virtual_environment("wakes-the-adapters")
        self.clock.now_s += seconds
        await self.world.plane.virtual_environment("wakes-the-adapters")


class Log(logging.Handler):
    """Waits for a line in the log."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.put_nowait(record.getMessage())

    async def wait_for(self, text: str) -> str:
        async with asyncio.timeout(SOON_S):
            while text not in (line := await self._lines.get()):
                pass
        return line


@contextlib.asynccontextmanager
async def serving(broker: Broker, pod: Pod, component: str = "order-worker") -> AsyncIterator[None]:
    subject = subjects.component(APP, component, digest("v1"))
    async with receive(broker.bus, subject, subjects.PODS_QUEUE, pod.handle, source=component):
        yield


async def prepare(world: World, *schedules: Schedule) -> None:
    worker = ComponentDefinition(name="order-worker", schedules=schedules)
    await world.plane.deploy("order-app-v1", {"order-worker": worker})
    await world.plane.virtual_environment("team-a")
    await world.plane.release("team-a", "order-app-v1")


def in_environment(event: Event, broker: Broker) -> str:
    return broker.store.keys.unseal(event.context).virtual_environment
