"""Two components on a real NATS: web emits events, worker handles them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec

from adapters.events.acceptance import accept_events
from adapters.events.adapter import EventsAdapter
from broker.dispatch.broker import Broker
from broker.events.dead_letters import Counts, DeadLetters, open_dead_letters
from broker.events.deliveries import ACK_WAIT_S, MAX_HELD
from broker.events.outbox import Outbox, ensure_outbox
from broker.runtime.settings import Settings
from fox import Context, Kit, Response
from fox.kit.response import Content
from kubefox import codec, subjects
from kubefox.context import source_name
from kubefox.dead_letter import DeadLetter
from kubefox.delivery import Delivery
from kubefox.event import Event, EventType
from tests.support.data_plane import APP, SETTINGS, DataPlane, digest
from tests.support.world import SOON_S, World, open_world

EMIT = msgspec.structs.replace(SETTINGS, emit_attempts=3, emit_retry_s=0.02)
WEB = source_name("web", digest("v1"))
WORKER = subjects.component(APP, "worker", digest("v1"))


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the worker got it."""

    attempt: int
    type: str
    source: str
    deployment: str
    virtual_environment: str
    colour: str
    path: str
    body: str


class Worker:
    """Handles events with the responses that a test sets, and keeps what it got.

    Attributes:
        answers: Responses to the next events; an exception is raised. Without one, 204.
        gate: The handler waits for it.
        seen: The events.
    """

    def __init__(self) -> None:
        self.seen: list[Handled] = []
        self.answers: list[Content | Response | Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.kit = Kit()
        self.kit.env("colour", default="")
        self.kit.default(self._handle)
        self._begun: asyncio.Queue[Handled] = asyncio.Queue()

    async def next(self) -> Handled:
        """Wait for the next event, and return it."""
        async with asyncio.timeout(SOON_S):
            return await self._begun.get()

    async def _handle(self, ctx: Context) -> Content | Response:
        handled = Handled(
            attempt=ctx.attempt,
            type=ctx.type,
            source=ctx.source,
            deployment=ctx.deployment,
            virtual_environment=ctx.virtual_environment,
            colour=str(ctx.env["colour"]),
            path=ctx.path,
            body=ctx.text(),
        )
        self.seen.append(handled)
        self._begun.put_nowait(handled)
        answer = self.answers.pop(0) if self.answers else None
        await self.gate.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


def web() -> Kit:
    """Return a component that emits: ``/<key>``, and fails after it for ``/fail``."""
    kit = Kit()
    worker = kit.component("worker")

    @kit.route("PathPrefix(`/`)")
    async def emit(ctx: Context) -> dict[str, bool]:
        key = ctx.segments[0] if ctx.segments else ""
        is_new = await worker.emit("/jobs", ctx=ctx, json={"key": key}, key=key)
        if key == "fail":
            raise ValueError("after it has emitted")
        return {"is_new": is_new}

    return kit


class EventsWorld:
    """A data plane with an emitter and a worker in deployment ``v1``.

    Attributes:
        world: The platform.
        letters: Its dead letters.
        worker: Handles the events.
        web: Emits them.
    """

    def __init__(self, world: World, letters: DeadLetters) -> None:
        self.world = world
        self.letters = letters
        self.worker = Worker()
        self.web = web()

    @property
    def plane(self) -> DataPlane:
        return self.world.plane

    @property
    def broker(self) -> Broker:
        return self.world.broker

    async def deploy(self, name: str, text: str, *, worker: Kit | None = None) -> None:
        """Deploy both components, each under ``digest(text)``."""
        await self.plane.deploy(name, {"web": self.web, "worker": worker or self.worker.kit}, text)

    async def start(self, text: str = "v1") -> None:
        """Start a pod of each component."""
        await self.world.start({"web": self.web, "worker": self.worker.kit}, text)

    async def emit(
        self, path: str = "/", deployment: str = "v1", virtual_environment: str = "team-a"
    ) -> bool:
        """Make web emit an event, and return whether it was new."""
        response = await self.plane.get(path, deployment, virtual_environment)
        return bool(response.json()["is_new"])

    def delivering(
        self,
        settings: Settings = EMIT,
        broker: Broker | None = None,
        ack_wait_s: float = ACK_WAIT_S,
        max_held: int = MAX_HELD,
    ) -> contextlib.AbstractAsyncContextManager[EventsAdapter]:
        """Return an adapter that delivers events while its context lasts."""
        return EventsAdapter(
            broker or self.broker, settings, ack_wait_s=ack_wait_s, max_held=max_held
        )

    async def wait_counts(self, is_reached: Callable[[Counts], bool]) -> Counts:
        """Return the numbers of waiting events and dead letters once they fulfil a condition."""
        async with asyncio.timeout(SOON_S):
            while not is_reached(counts := await self.letters.counts()):
                await asyncio.sleep(0.005)
        return counts

    async def wait_settled(self) -> None:
        """Return when no event waits."""
        await self.wait_counts(lambda counts: counts.waiting == 0)

    async def dead_letter(self) -> DeadLetter:
        """Return the first dead letter, with its body, once there is one and no event waits."""
        await self.wait_counts(lambda counts: counts.waiting == 0 and counts.dead > 0)
        return await self.letters.get((await self.letters.page(0, 1))[0][0].id)


@contextlib.asynccontextmanager
async def open_events_world(url: str, settings: Settings = EMIT) -> AsyncIterator[EventsWorld]:
    """Open a world with virtual environments ``team-a`` and ``team-b``; nothing is delivered."""
    environments = {name: {"colour": f"colour of {name}"} for name in ("team-a", "team-b")}
    async with open_world(url, settings, environments=environments) as world:
        await ensure_outbox(world.broker.bus)
        events = EventsWorld(world, await open_dead_letters(world.broker.bus))
        await events.deploy("v1", "v1")
        await events.plane.enter(accept_events(world.broker))
        try:
            yield events
        finally:
            # A pod ends when its handlers have ended.
            events.worker.gate.set()


async def forge(
    world: EventsWorld,
    source: str,
    target: str = WORKER,
    context: str = "",
    delivery: Delivery | None = None,
) -> None:
    """Store any event, as a component that may write to the stream can."""
    token = context or await token_of(world)
    event = Event(
        id="1",
        genesis_id="1",
        type=EventType.HTTP,
        context=token,
        source=source,
        deadline_ms=0,
        delivery=delivery,
    )
    await Outbox(world.broker.bus).store(subjects.emitted(target), codec.encode(event, b"x"))


async def token_of(world: EventsWorld, deployment: str = "v1") -> str:
    """Return the sealed context of a deployment."""
    context = world.plane.target("/", deployment, "team-a").context
    return world.broker.store.keys.seal(context)
