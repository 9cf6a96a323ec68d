"""The emitted events whose handlers run in this pod.

A run begins when the delivering adapter permits it. It ends when the handler has returned, and each
thread that it started by ``asyncio.to_thread`` or in the loop's executor has ended too: Python
cannot stop a thread, so a handler that was cancelled may go on in one. The body of a response that
is a stream belongs to the run as well. Until then the event is not delivered again
(``adapters.events.attempts`` asks).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar

from broker.nats.bus import Bus
from broker.nats.requester import Requester
from broker.runtime.platform_clock import clock
from broker.streams.body_sender import StreamedBody
from fox.kit.run_lock import RunLock
from kubefox import subjects
from kubefox.delivery import PERMITTED, RUNS, RUNS_NOT, Delivery
from kubefox.errors import Conflict, DeadlineExceeded
from kubefox.event import Event

logger = logging.getLogger(__name__)

HUNG_S = 600.0
"""How long a handler may run on after its time limit; then its pod is considered hung."""
ASK_S = 5.0
"""How long an adapter may take to answer; others may wait for the turn meanwhile."""
LAST_RUNS_S = 2.0
"""How long a pod that ends still answers for handlers that run on."""

_Result = TypeVar("_Result")


class Run:
    """One emitted event, from the begin of its handler to the end of all its threads."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_end = on_end
        self._parts = 1

    def hold(self, thread: Future[Any]) -> None:
        """Continue the run until a thread has ended."""
        if self._parts:
            self._parts += 1
            thread.add_done_callback(self._on_thread_ended)

    def hold_body(self, body: StreamedBody) -> None:
        """Continue the run until a response's body, which the handler makes, is closed."""
        self._parts += 1
        body.on_closed = self.end_part

    def end_part(self) -> None:
        """End the handler, a thread or a body."""
        self._parts -= 1
        if not self._parts:
            self._on_end()

    def _on_thread_ended(self, _: Future[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self.end_part)


_current: ContextVar[Run | None] = ContextVar("current_run", default=None)


class TrackingExecutor(ThreadPoolExecutor):
    """The executor of a pod's loop: a thread belongs to the run in which it is started."""

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        """Start ``fn`` in a thread; see ``ThreadPoolExecutor.submit``."""
        future = super().submit(fn, *args, **kwargs)
        if (run := _current.get()) is not None:
            run.hold(future)
        return future


class Runs:
    """The runs of one pod.

    Args:
        bus: Asks the delivering adapters.
        process_id: Of the pod's process; adapters ask it whether an event still runs.
        hung_s: See ``HUNG_S``.

    Attributes:
        on_hung: Called when a handler runs on for ``hung_s`` after its time limit.
    """

    def __init__(self, bus: Requester, process_id: str = "", hung_s: float = HUNG_S) -> None:
        self.on_hung: Callable[[], object] | None = None
        self._bus = bus
        self._process_id = process_id
        self._hung_s = hung_s
        self._lock = RunLock()
        self._running: dict[str, Run] = {}
        self._none_runs = asyncio.Event()
        self._none_runs.set()

    @contextlib.asynccontextmanager
    async def run(self, event: Event, delivery: Delivery, limit_s: float) -> AsyncIterator[Run]:
        """Run a handler within the context, once it may begin.

        Args:
            event: An emitted event.
            delivery: Of the event.
            limit_s: Time limit of the handler.

        Raises:
            Conflict: An earlier attempt of the event still runs here.
            DeadlineExceeded: The adapter does not wait for this attempt any more.
            FoxError: The adapter does not answer.
        """
        if event.id in self._running:
            raise Conflict(f"an earlier attempt of event {event.id} still runs")
        await self._lock.acquire(is_alone=delivery.is_alone)
        try:
            await self._ask(event, delivery)
        except BaseException:
            self._lock.release(is_alone=delivery.is_alone)
            raise
        run = self._begin(event, limit_s, is_alone=delivery.is_alone)
        token = _current.set(run)
        try:
            yield run
        finally:
            _current.reset(token)
            run.end_part()

    async def wait_none(self, timeout_s: float) -> None:
        """Return when no handler runs any more, or after the time-out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._none_runs.wait()

    @contextlib.asynccontextmanager
    async def serving(self, bus: Bus, target: str) -> AsyncIterator[None]:
        """Say which events run here, until the context ends and no handler runs.

        Args:
            bus: Connection to use.
            target: Subject of the component version.
        """

        async def answer(payload: bytes, reply: str) -> None:
            await bus.publish(reply, RUNS if payload.decode() in self._running else RUNS_NOT)

        async def answer_if_running(payload: bytes, reply: str) -> None:
            if payload.decode() in self._running:
                await bus.publish(reply, RUNS)

        own = await bus.serve(subjects.runs_of(self._process_id), answer)
        shared = await bus.serve(subjects.runs(target), answer_if_running)
        try:
            yield
        finally:
            await self.wait_none(LAST_RUNS_S)
            await bus.stop_serving(own)
            await bus.stop_serving(shared)

    async def _ask(self, event: Event, delivery: Delivery) -> None:
        if not subjects.is_begin(delivery.begin):
            return
        # Another attempt may have begun while this one waited for the lock.
        if event.id in self._running:
            raise Conflict(f"an earlier attempt of event {event.id} still runs")
        timeout_s = min(ASK_S, event.remaining_s(clock.now_s()))
        answer = await self._bus.request(delivery.begin, self._process_id.encode(), timeout_s)
        if answer != PERMITTED:
            raise DeadlineExceeded(f"event {event.id} began too late: nothing waits for it")

    def _begin(self, event: Event, limit_s: float, *, is_alone: bool) -> Run:
        def on_end() -> None:
            hung_timer.cancel()
            self._lock.release(is_alone=is_alone)
            if self._running.get(event.id) is run:
                del self._running[event.id]
            if not self._running:
                self._none_runs.set()

        run = Run(on_end)
        loop = asyncio.get_running_loop()
        hung_timer = loop.call_later(limit_s + self._hung_s, self._report_hung, event.id)
        self._running[event.id] = run
        self._none_runs.clear()
        return run

    def _report_hung(self, event_id: str) -> None:
        logger.error(
            "the handler of event %s did not end within %g s after its time limit: its pod is "
            "considered hung",
            event_id,
            self._hung_s,
        )
        if self.on_hung is not None:
            self.on_hung()
