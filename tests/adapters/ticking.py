"""What the tests of cron move and look at: a clock, a pod, a log, and adapters that follow them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from broker.broker import Broker
from broker.pour import Streamed
from broker.receiver import Reply, receive
from model import subjects
from model.codec import Body
from model.component import ComponentDefinition, Schedule
from model.context import unseal
from model.errors import FoxError
from model.event import Event
from tests.adapters.world import DIGEST, World

APP = "order-app"
MINUTELY = Schedule(id=0, cron="* * * * *")
# 2026-03-01T12:00:30Z: half a minute from any tick of MINUTELY.
START_S = 1_772_366_430.0
FIRST_TICK = "2026-03-01T12:01:00+00:00"
SECOND_TICK = "2026-03-01T12:02:00+00:00"
THIRD_TICK = "2026-03-01T12:03:00+00:00"
SOON_S = 10


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = START_S

    def __call__(self) -> float:
        return self.now_s


class Pod:
    """Serves order-worker, and keeps what came in."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.seen: list[Event] = []
        self.status = 200
        self.error: FoxError | None = None
        self.stream: Streamed | None = None
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
    """A world with cron adapters whose clock is moved by hand."""

    def __init__(self, world: World, clock: Clock) -> None:
        self.world = world
        self.clock = clock

    async def pass_by(self, seconds: float) -> None:
        """Move the clock, and wake the adapters by a change as a timer would.

        The change before it makes sure that they have followed what came earlier.
        """
        await self.world.virtual("wakes-the-adapters")
        self.clock.now_s += seconds
        await self.world.virtual("wakes-the-adapters")


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
    subject = subjects.component(APP, component, DIGEST)
    async with receive(broker.bus, subject, subjects.PODS_QUEUE, pod.handle, source=component):
        yield


async def prepare(world: World, *schedules: Schedule) -> None:
    worker = ComponentDefinition(name="order-worker", schedules=schedules)
    await world.deploy("order-app-v1", APP, worker)
    await world.virtual("team-a")
    await world.release("team-a", APP, "order-app-v1")


def in_environment(event: Event, key: bytes) -> str:
    return unseal(event.context, key).virtual_environment
