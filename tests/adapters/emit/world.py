"""Two components of which one emits and the other handles, on a real NATS, with real deliveries."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec

from adapters.emit import EmitAdapter
from broker.broker import Broker
from broker.bus import Bus
from broker.dead_letters import Counts, DeadLetters, open_dead_letters
from broker.outbox import Outbox, ensure_outbox
from broker.settings import Settings
from fox import Context, Kit, Response
from fox.kit.response import Content
from model import codec, subjects
from model.context import seal, source_name
from model.dead_letter import DeadLetter
from model.event import Event, EventType
from tests.support.data_plane import APP, SETTINGS, DataPlane, digest, open_data_plane

SOON_S = 15
EMIT = msgspec.structs.replace(SETTINGS, emit_attempts=3, emit_retry_s=0.02)
WEB = source_name("web", digest("v1"))
WORKER = subjects.component(APP, "worker", digest("v1"))


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker saw of an event."""

    attempt: int
    type: str
    source: str
    deployment: str
    virtual_environment: str
    colour: str
    path: str
    body: str


class Worker:
    """Handles events as a test wants it, and keeps what it saw.

    Attributes:
        answers: What the next events are answered with, an exception is raised; then 204.
        gate: No event ends before it is set.
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
        """Return the next event that comes."""
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
    """Return a component that emits: ``/<key>``, and fails afterwards at ``/fail``."""
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


class EmitWorld:
    """A data plane with both components in deployment ``v1``; ``deliver`` begins deliveries."""

    def __init__(self, plane: DataPlane, letters: DeadLetters) -> None:
        self.plane = plane
        self.letters = letters
        self.worker = Worker()
        self.web = web()
        self.buses: list[Bus] = []

    @property
    def broker(self) -> Broker:
        """The broker of the plane."""
        return self.plane.broker

    async def deploy(self, name: str, text: str, *, worker: Kit | None = None) -> None:
        """Deploy both components, each under ``digest(text)``."""
        await self.plane.deploy(name, {"web": self.web, "worker": worker or self.worker.kit}, text)

    async def start(self, text: str = "v1") -> None:
        """Start a pod of each."""
        for name, kit in (("web", self.web), ("worker", self.worker.kit)):
            bus, _ = await self.plane.start(name, kit, text)
            self.buses.append(bus)

    async def emit(
        self, path: str = "/", deployment: str = "v1", virtual_environment: str = "team-a"
    ) -> bool:
        """Let web emit, and return whether it was new."""
        answer = await self.plane.get(path, deployment, virtual_environment)
        return bool(answer.json()["is_new"])

    def delivering(
        self, settings: Settings = EMIT, broker: Broker | None = None
    ) -> contextlib.AbstractAsyncContextManager[EmitAdapter]:
        """Return an adapter to enter."""
        return EmitAdapter(broker or self.broker, settings)

    async def wait_counts(self, is_reached: Callable[[Counts], bool]) -> Counts:
        """Return how many events wait and are dead, once that fulfils a condition."""
        async with asyncio.timeout(SOON_S):
            while not is_reached(counts := await self.letters.counts()):
                await asyncio.sleep(0.005)
        return counts

    async def wait_reconnected(self) -> None:
        """Return when the broker and every pod have a server again."""
        async with asyncio.timeout(SOON_S):
            while not (self.broker.is_ready and all(each.is_ready for each in self.buses)):
                await asyncio.sleep(0.005)

    async def wait_settled(self) -> None:
        """Return when no event waits."""
        await self.wait_counts(lambda counts: counts.waiting == 0)

    async def dead_letter(self) -> DeadLetter:
        """Return the first dead letter, with its body, once there is one and nothing waits."""
        await self.wait_counts(lambda counts: counts.waiting == 0 and counts.dead > 0)
        return await self.letters.get((await self.letters.all(1))[0].id)


@contextlib.asynccontextmanager
async def open_emit_world(url: str, settings: Settings = EMIT) -> AsyncIterator[EmitWorld]:
    """Open a data plane with virtual environments ``team-a`` and ``team-b``; nothing delivers."""
    async with open_data_plane(url, settings) as plane:
        for name in ("team-a", "team-b"):
            await plane.virtual_environment(name, colour=f"colour of {name}")
        await ensure_outbox(plane.broker.bus)
        world = EmitWorld(plane, await open_dead_letters(plane.broker.bus))
        await world.deploy("v1", "v1")
        try:
            yield world
        finally:
            # A pod ends when its handlers have.
            world.worker.gate.set()


async def forge(world: EmitWorld, source: str, target: str = WORKER, context: str = "") -> None:
    """Store an event as somebody could who may write to the stream."""
    token = context or await token_of(world)
    event = Event(
        id="1", genesis_id="1", type=EventType.HTTP, context=token, source=source, deadline_ms=0
    )
    await Outbox(world.broker.bus).store(subjects.emitted(target), codec.encode(event, b"x"))


async def token_of(world: EmitWorld, deployment: str = "v1") -> str:
    """Return the context of a deployment, as an event carries it."""
    context = world.plane.target("/", deployment, "team-a").context
    return seal(context, await world.broker.store.platform_key())
