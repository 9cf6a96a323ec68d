"""The places and the queues of a receiver's events: starts each event, now or in its turn.

An event is started at once while its lane has a free place and no handler holds the event loop. The
time that handlers hold the loop is measured: each *slice*, from where a handler goes on until it
waits or ends. When they have held it for more than 5 ms in one turn of the loop, the queue is
*paced*: every event that begins, and every handler that goes on, waits for its turn. Turns are
given for about 2 ms at a time, or one slice if that is longer. Between them the loop reads what has
arrived and writes the answers, so an event waits for one slice of another lane at most.
"""

from __future__ import annotations

import asyncio
import math
import types
from asyncio import Task
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter
from typing import Any, TypeVar

from broker.dispatch.admission import WaitingEvents
from broker.dispatch.handling import Handling
from broker.runtime.deadlines import Deadlines
from broker.runtime.fair_share import FairShare
from broker.runtime.platform_clock import clock
from kubefox.refusal import Refusal

Result = TypeVar("Result")

MAX_WAITING = 4_000
HOLD_S = 0.005
"""Time of the loop after which events take turns."""
TURN_S = 0.002
"""Time of the loop that is given in one turn."""
MAX_DEPTH = 15
"""Deeper events share their places."""
MAX_RETRY_AFTER_S = 60
_RESET_S = 0.001
_MOST_REFUSED = 16
"""Events of a lane that are refused in one turn because they would begin too late."""
_WAIT_SHARE = 0.9
"""Share of the time until its deadline that an event waits: the refusal needs time as well."""


class EventQueue:
    """Gives the events of a receiver their places, and their turns on the event loop.

    Args:
        limit: Events of one lane that are at work at once, and of its streams; see ``FairShare``.
        max_wait_s: Longest time that an event waits to begin. With 0 it is refused instead, and
            handlers never wait for a turn.
        serve: Handles an event, in a task of its own; waits for ``begin`` first, and calls ``end``
            last.
        refuse: Answers an event that is refused.
    """

    def __init__(
        self,
        limit: int,
        max_wait_s: float,
        serve: Callable[[Handling], Coroutine[None, None, None]],
        refuse: Callable[[Handling, Refusal], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._may_wait = max_wait_s > 0
        self._max_wait_s = max_wait_s
        depths = MAX_DEPTH + 1 if self._may_wait else 1
        self._places = [FairShare(limit) for _ in range(depths)]
        self._first_places = self._places[0]
        self._streams = FairShare(limit)
        self._waiting: WaitingEvents[Handling] = WaitingEvents(self._places, MAX_WAITING)
        self._serve, self._refuse = serve, refuse
        self._limits: Deadlines[Handling] = Deadlines(self._refuse_late)
        self._held_s = 0.0
        # Slices are noted when the loop was held for longer.
        self._noted_s = _RESET_S if self._may_wait else math.inf
        self._is_scheduled = False
        self.is_paced = False

    def admit(self, handling: Handling) -> None:
        """Start an event, queue it, or refuse it.

        An event with a streamed body takes one of the places for streams; see ``wait_for_place``.
        """
        event = handling.event
        if event.stream:
            places = self._streams
        else:
            places = self._places_of(handling) if event.depth else self._first_places
        if (self.is_paced or self._waiting.count) and not event.stream:
            self._add(handling)
        elif places.try_take(handling.lane):
            handling.places = places
            self._start(handling)
        elif event.stream:
            self._refuse(handling, Refusal.STREAMS)
        else:
            self._add(handling)

    def _start(self, handling: Handling) -> None:
        # 1.0 µs; loop.create_task() takes 1.2 µs, because it makes a name.
        handling.task = Task(self._serve(handling), loop=self._loop, name=handling.key)

    def _add(self, handling: Handling) -> None:
        refusal = self._wait_for_place(handling)
        if refusal is not None:
            self._refuse(handling, refusal)

    async def begin(self, handling: Handling) -> Refusal | None:
        """Wait until an event may begin; to be called while ``is_paced``.

        Returns:
            A refusal if that takes too long.
        """
        while self._must_wait(handling):
            limit_s = self._limit_s(handling)
            deadline_ms = handling.event.deadline_ms
            refusal = self._waiting.add_begun(
                handling.lane, handling.key, handling, deadline_ms, limit_s
            )
            if refusal is None:
                self._limits.set(handling, limit_s)
                refusal = await self._turn(handling)
            if refusal is not None:
                return refusal
        return None

    @types.coroutine
    def run(
        self,
        handling: Handling,
        work: Coroutine[Any, Any, Result] | Generator[Any, None, Result],
        on_wait: Callable[[Handling], None] | None = None,
    ) -> Generator[Any, Any, Result]:
        """Run a part of an event: measure each slice, and wait for a turn before the next one.

        Args:
            handling: The event.
            work: Its part.
            on_wait: Called when ``work`` waits for the first time.
        """
        error: BaseException | None = None
        while True:
            begin_s = perf_counter()
            try:
                awaited = work.send(None) if error is None else work.throw(error)
            except StopIteration as end:
                result: Result = end.value
                return result
            finally:
                # An exception must not be reachable from the frames that its traceback holds: its
                # event would stay in memory until the garbage collector runs.
                error = None
                slice_s = perf_counter() - begin_s
                self._held_s += slice_s
                if self._held_s > self._noted_s:
                    self._note_hold(handling, slice_s)
            if on_wait is not None:
                on_wait(handling)
                on_wait = None
            try:
                yield awaited
            except GeneratorExit:
                work.close()
                raise
            except BaseException as raised:  # noqa: BLE001 - passed on to ``work``
                error = raised
            awaited = None
            # A handler that is cancelled shall end now; one that is to begin waits in ``begin``.
            while (
                self.is_paced
                and not handling.is_preparing
                and not isinstance(error, asyncio.CancelledError)
            ):
                if not self._must_wait(handling):
                    break
                try:
                    yield from self._turn_of_begun(handling)
                except asyncio.CancelledError as cancellation:
                    error = cancellation

    async def run_task(
        self,
        handling: Handling,
        work: Coroutine[Any, Any, Result] | Generator[Any, None, Result],
    ) -> Result:
        """Run a task that a handler has started, as ``run`` does; it needs no place.

        Args:
            handling: For this task alone, with the lane and the event of the handler.
            work: Of the task.
        """
        while self.is_paced and self._must_wait(handling):
            await self._turn_of_begun(handling)
        return await self.run(handling, work)

    def end(self, handling: Handling) -> None:
        """Give the place of an event back, and start another one."""
        if self._waiting.count:
            # An event that was refused, or that nothing waits for any more, has not begun. One that
            # ran out of time does not tell how long its handler takes.
            if handling.begun_s and not (handling.is_expired or handling.is_abandoned):
                service_s = clock.now_s() - handling.begun_s
                self._waiting.measure_service(handling.lane, handling.event.handler, service_s)
            self.release(handling)
        elif handling.places is not None:
            handling.places.release(handling.lane)
            handling.places = None

    def release(self, handling: Handling) -> None:
        """Give the place of an event back while it goes on."""
        places, handling.places = handling.places, None
        if places is not None:
            places.release(handling.lane)
            if self._waiting.count:
                self._waiting.on_release(handling.lane)
                self._schedule()

    def discard(self, handling: Handling) -> bool:
        """Remove an event that waits; return whether it did."""
        self._limits.cancel(handling)
        return self._waiting.discard(handling.lane, handling.key, self._depth(handling))

    def use_stream_place(self, handling: Handling) -> bool:
        """Exchange the place of an event for one of a stream; return whether there was one."""
        if handling.places is self._streams:
            return True
        self.release(handling)
        if not self._streams.try_take(handling.lane):
            return False
        handling.places = self._streams
        return True

    async def wait_for_place(self, handling: Handling) -> Refusal | None:
        """Exchange the place of a stream whose body is gathered for one of an event."""
        places = self._places_of(handling)
        if self.is_paced or self._waiting.count or not places.try_take(handling.lane):
            refusal = self._wait_for_place(handling)
            if refusal is None:
                refusal = await self._turn(handling)
            if refusal is not None:
                return refusal
        else:
            self.release(handling)
            handling.places = places
        return None

    def _depth(self, handling: Handling) -> int:
        return min(handling.event.depth, len(self._places) - 1)

    def retry_after_s(self, handling: Handling) -> int:
        """Return when an event that is refused may find its lane's queue served, in seconds."""
        wait_s = self._waiting.wait_s(handling.lane, self._depth(handling))
        return min(max(1, math.ceil(wait_s)), MAX_RETRY_AFTER_S)

    def _places_of(self, handling: Handling) -> FairShare:
        return self._places[self._depth(handling)]

    def _limit_s(self, handling: Handling) -> float:
        """Return how long an event may wait before it begins."""
        remaining_s = handling.event.remaining_s(clock.now_s())
        return min(self._max_wait_s, _WAIT_SHARE * remaining_s - self._service_s(handling))

    def _is_late(self, handling: Handling) -> bool:
        """Return whether an event that is to begin would be answered after its deadline."""
        remaining_s = handling.event.remaining_s(clock.now_s())
        return not handling.begun_s and remaining_s <= self._service_s(handling)

    def _service_s(self, handling: Handling) -> float:
        return self._waiting.service_s(handling.lane, handling.event.handler)

    def _must_wait(self, handling: Handling) -> bool:
        """Return whether an event has no turn, or others have held the loop in that turn."""
        has_turn, handling.has_turn = handling.has_turn, False
        return self._may_wait and not (has_turn and self._held_s <= TURN_S)

    def _wait_for_place(self, handling: Handling) -> Refusal | None:
        if not self._may_wait:
            return Refusal.QUEUE_FULL
        limit_s = self._limit_s(handling)
        refusal = self._waiting.add(
            handling.lane, handling.key, handling, limit_s=limit_s, depth=self._depth(handling)
        )
        if refusal is None:
            handling.needs_place = True
            self._limits.set(handling, limit_s)
            self._schedule()
        return refusal

    @types.coroutine
    def _turn_of_begun(self, handling: Handling) -> Generator[Any, None, None]:
        deadline_ms = handling.event.deadline_ms
        self._waiting.add_begun(handling.lane, handling.key, handling, deadline_ms)
        yield from self._turn(handling).__await__()

    async def _turn(self, handling: Handling) -> Refusal | None:
        """Wait for the turn of an event that was queued."""
        self._schedule()
        handling.waiter = self._loop.create_future()
        try:
            return await handling.waiter
        finally:
            # After a cancellation only.
            self.discard(handling)
            handling.needs_place = False
            handling.waiter = None

    def _note_hold(self, handling: Handling, slice_s: float) -> None:
        if self._held_s > HOLD_S:
            self.is_paced = True
            self._noted_s = -1.0
        if self.is_paced:
            self._waiting.charge(handling.lane, slice_s)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._await_turn)

    def _await_turn(self) -> None:
        """Give turns when the loop has read and written, and handlers that go on are queued."""
        self._loop.call_soon(self._give_turns)

    def _give_turns(self) -> None:
        """Let as many events go on as may hold the loop until the next turn."""
        self._held_s = 0.0
        handlings = self._waiting.take_turns(self._loop.time(), TURN_S)
        for handling in handlings:
            self._give_turn(handling)
        for lane in {handling.lane for handling in handlings}:
            self._refuse_hopeless(lane)
        if handlings:
            self._loop.call_soon(self._await_turn)
        else:
            self.is_paced = self._is_scheduled = False
            self._noted_s = _RESET_S

    def _refuse_hopeless(self, lane: str) -> None:
        """Refuse the last events of a lane that will not begin in time, as is known by now."""
        for _ in range(_MOST_REFUSED):
            found = self._waiting.last(lane)
            if found is None or found[1] <= self._limit_s(found[0]):
                return
            self._limits.cancel(found[0])
            self._refuse_late(found[0])

    def _give_turn(self, handling: Handling) -> None:
        self._limits.cancel(handling)
        handling.has_turn = True
        if handling.needs_place:
            handling.needs_place = False
            self.release(handling)
            handling.places = self._places_of(handling)
        # While it waited, its handler may have turned out to be slower.
        if self._is_late(handling):
            self._answer_late(handling)
        elif handling.waiter is None:
            self._start(handling)
        elif not handling.waiter.done():
            handling.waiter.set_result(None)

    def _refuse_late(self, handling: Handling) -> None:
        """Refuse an event whose turn has not come in time."""
        self._waiting.discard(handling.lane, handling.key, self._depth(handling))
        self._answer_late(handling)

    def _answer_late(self, handling: Handling) -> None:
        if handling.waiter is None:
            self.release(handling)
            self._refuse(handling, Refusal.TOO_LATE)
        elif not handling.waiter.done():
            handling.waiter.set_result(Refusal.TOO_LATE)
