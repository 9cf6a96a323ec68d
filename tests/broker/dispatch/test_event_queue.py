"""Events take turns on the loop: an event waits for one slice of another lane at most."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from broker.dispatch.estimates import LEAST_SAMPLES
from broker.dispatch.event_queue import HOLD_S, MAX_RETRY_AFTER_S, TURN_S, EventQueue
from broker.dispatch.handling import Handling
from kubefox.event import NO_ROUTE, Event, EventType
from kubefox.refusal import Refusal

FOREVER_S = 1e6
LIMIT = 100

Work = Callable[[str], Coroutine[Any, Any, object]]


def handling_of(name: str, depth: int = 0, ttl_s: float = FOREVER_S) -> Handling:
    event = Event(
        id=name,
        genesis_id=name,
        type=EventType.COMPONENT,
        context="",
        source="test",
        deadline_ms=int((time.time() + ttl_s) * 1000),
        depth=depth,
    )
    return Handling(event, b"", name, name, name[0])


class Worker:
    """Runs ``work`` for each event of a queue, and notes what happens."""

    def __init__(self, work: Work, limit: int = LIMIT) -> None:
        self.queue = EventQueue(limit, FOREVER_S, self._serve, self._refuse)
        self.notes: list[str] = []
        self.refused: list[tuple[str, Refusal]] = []
        self.handlings: dict[str, Handling] = {}
        self._work = work

    def admit(self, name: str, depth: int = 0, ttl_s: float = FOREVER_S) -> None:
        """Admit an event; its lane is the first letter of its name."""
        handling = self.handlings[name] = handling_of(name, depth, ttl_s)
        self.queue.admit(handling)

    async def ended(self) -> None:
        """Wait until no event is at work, and none waits."""
        while self.handlings:
            await asyncio.sleep(0)

    async def _serve(self, handling: Handling) -> None:
        name = handling.key
        try:
            if self.queue.is_paced and await self.queue.begin(handling) is not None:
                return
            self.notes.append(name)
            await self.queue.run(handling, self._work(name))
        finally:
            del self.handlings[name]
            self.queue.end(handling)

    def _refuse(self, handling: Handling, refusal: Refusal) -> None:
        del self.handlings[handling.key]
        self.refused.append((handling.key, refusal))


def hold_loop() -> None:
    """Hold the loop for so long that events take turns."""
    end_s = time.perf_counter() + HOLD_S + 0.001
    while time.perf_counter() < end_s:
        pass


def failing_future(detail: str) -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.call_soon(future.set_exception, LookupError(detail))
    return future


async def compute(name: str) -> None:
    if name[0] == "a":
        hold_loop()


async def test_an_event_waits_for_one_handler_of_another_lane_at_most() -> None:
    worker = Worker(compute)
    for number in range(20):
        worker.admit(f"a{number}")
    while len(worker.notes) < 3:
        await asyncio.sleep(0)

    started = len(worker.notes)
    worker.admit("b")
    await worker.ended()

    assert worker.notes.index("b") <= started + 1


async def test_an_event_waits_for_one_handler_that_goes_on_at_most() -> None:
    slices: list[str] = []
    may_go_on = asyncio.Event()

    async def wait_then_compute(name: str) -> None:
        if name[0] == "a":
            await may_go_on.wait()
            hold_loop()
        slices.append(name)

    worker = Worker(wait_then_compute)
    for number in range(20):
        worker.admit(f"a{number}")
    await asyncio.sleep(0)
    may_go_on.set()
    while len(slices) < 3:
        await asyncio.sleep(0)

    ended = len(slices)
    worker.admit("b")
    await worker.ended()

    assert slices.index("b") <= ended + 1


async def test_a_lane_that_computes_in_slices_ends_events_before_others_begin() -> None:
    async def compute_twice(name: str) -> None:
        hold_loop()
        await asyncio.sleep(0)
        hold_loop()

    worker = Worker(compute_twice)
    at_work = []
    for number in range(10):
        worker.admit(f"a{number}")
    while worker.handlings:
        at_work.append(len(worker.notes) - (10 - len(worker.handlings)))
        await asyncio.sleep(0)

    assert max(at_work) <= 1


async def test_handlers_that_wait_run_at_the_same_time_beside_those_that_compute() -> None:
    may_end = asyncio.Event()

    async def work(name: str) -> None:
        if name[0] == "a":
            hold_loop()
        else:
            await may_end.wait()

    worker = Worker(work)
    for number in range(10):
        worker.admit(f"a{number}")
    await asyncio.sleep(0)
    for number in range(50):
        worker.admit(f"b{number}")

    while sum(name[0] == "b" for name in worker.notes) < 50:
        await asyncio.sleep(0)
    may_end.set()
    await worker.ended()


async def test_a_handler_that_waits_for_its_turn_can_be_cancelled() -> None:
    ended: list[str] = []
    may_go_on = asyncio.Event()

    async def work(name: str) -> None:
        try:
            await may_go_on.wait()
            hold_loop()
        except asyncio.CancelledError:
            ended.append(name)
            raise

    worker = Worker(work)
    for number in range(5):
        worker.admit(f"a{number}")
    await asyncio.sleep(0)
    may_go_on.set()
    while not worker.queue.is_paced:
        await asyncio.sleep(0)
    task = worker.handlings["a4"].task
    assert task is not None

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert ended == ["a4"]
    await worker.ended()
    assert worker.queue._places[0].taken == 0


async def test_results_and_exceptions_pass_a_queue_unchanged() -> None:
    seen: list[object] = []

    async def work(name: str) -> str:
        with pytest.raises(LookupError) as caught:
            await failing_future("first")
        seen.append(caught.value.args[0])
        if name == "bad":
            raise LookupError(name)
        return name

    worker = Worker(work)
    handling = handling_of("a")

    assert await worker.queue.run(handling, work("good")) == "good"
    with pytest.raises(LookupError, match="bad"):
        await worker.queue.run(handling, work("bad"))
    assert seen == ["first", "first"]


async def test_a_failed_event_is_freed_without_the_garbage_collector() -> None:
    class Body:
        """Stands for what a handler holds."""

    refs: list[weakref.ref[Body]] = []

    async def work(name: str) -> None:
        body = Body()
        refs.append(weakref.ref(body))
        await failing_future(name)

    worker = Worker(work)
    handling = handling_of("a")
    gc.disable()
    try:
        with contextlib.suppress(LookupError):
            await worker.queue.run(handling, work("a"))
        await asyncio.sleep(0)
        assert refs[0]() is None
    finally:
        gc.enable()


async def test_a_refused_event_is_told_when_the_queue_of_its_lane_is_served() -> None:
    worker = Worker(compute, limit=1)
    waiting = worker.queue._waiting
    for number in range(100):
        waiting.add("a", f"a{number}", handling_of(f"a{number}"), limit_s=FOREVER_S)
    for second in range(20):
        waiting.charge("a", 1)
        waiting.take_turns(second, TURN_S)
        worker.queue._places[0].release("a")
        waiting.on_release("a")

    assert worker.queue.retry_after_s(handling_of("b")) == 1 + 1
    assert worker.queue.retry_after_s(handling_of("a")) == MAX_RETRY_AFTER_S
    for number in range(20, 70):
        waiting.discard("a", f"a{number}")
    assert worker.queue.retry_after_s(handling_of("a")) == 31
    assert Worker(compute).queue.retry_after_s(handling_of("a")) == 1


async def test_a_call_needs_no_place_of_the_events_that_wait_for_it() -> None:
    answered = asyncio.Event()

    async def call_oneself(name: str) -> None:
        if name == "a0":
            worker.admit("a2", depth=2)
            await answered.wait()
        if name == "a2":
            answered.set()

    worker = Worker(call_oneself, limit=1)
    worker.admit("a0")
    worker.admit("a1")

    await worker.ended()

    assert worker.notes == ["a0", "a2", "a1"]


@pytest.mark.parametrize("is_expired", [False, True])
async def test_only_handlers_that_end_in_time_tell_how_long_they_take(*, is_expired: bool) -> None:
    may_end = asyncio.Event()

    async def wait(name: str) -> None:
        if name[0] == "a":
            await may_end.wait()
        else:
            hold_loop()

    worker = Worker(wait)
    for number in range(LEAST_SAMPLES):
        worker.admit(f"a{number}")
    await asyncio.sleep(0)
    for number in range(LEAST_SAMPLES):
        handling = worker.handlings[f"a{number}"]
        handling.begun_s, handling.is_expired = time.time() - 100, is_expired
    for number in range(3 * LEAST_SAMPLES):
        worker.admit(f"b{number}")
    may_end.set()
    estimates: list[float] = []
    while worker.handlings:
        await asyncio.sleep(0)
        estimates.append(worker.queue._waiting.service_s("a", NO_ROUTE))

    assert any(estimates) != is_expired


async def test_an_event_is_refused_in_its_turn_if_its_handler_has_become_too_slow_for_it() -> None:
    may_end = asyncio.Event()

    async def wait(name: str) -> None:
        await may_end.wait()

    worker = Worker(wait, limit=LEAST_SAMPLES)
    for number in range(LEAST_SAMPLES):
        worker.admit(f"a{number}")
    await asyncio.sleep(0)
    for handling in worker.handlings.values():
        handling.begun_s = time.time() - 1_000
    worker.admit("a-short", ttl_s=900)
    for number in range(2 * LEAST_SAMPLES):
        worker.admit(f"a-long-{number}")
    may_end.set()
    await worker.ended()

    assert worker.refused == [("a-short", Refusal.TOO_LATE)]
    assert len(worker.notes) == 3 * LEAST_SAMPLES
    assert not worker.queue._first_places.taken


async def test_an_event_waits_no_longer_than_nine_tenths_of_the_time_to_its_deadline() -> None:
    may_end = asyncio.Event()

    async def wait(name: str) -> None:
        await may_end.wait()

    worker = Worker(wait, limit=1)
    worker.admit("a-first")
    begin_s = asyncio.get_running_loop().time()
    worker.admit("a-waits", ttl_s=100_000)
    ((waiting, due_s),) = worker.queue._limits._due_s.items()
    worker.queue._limits.set(waiting, 0)
    while not worker.refused:
        await asyncio.sleep(0)
    may_end.set()
    await worker.ended()

    assert due_s - begin_s == pytest.approx(90_000, abs=100)
    assert worker.refused == [("a-waits", Refusal.TOO_LATE)]
    assert worker.notes == ["a-first"]


async def test_waiting_events_are_refused_as_soon_as_it_is_known_that_they_begin_too_late() -> None:
    refused_at: list[int] = []

    async def compute_and_count(name: str) -> None:
        hold_loop()
        refused_at.append(len(worker.refused))

    worker = Worker(compute_and_count, limit=1)
    for number in range(4_000):
        # There is time for all on no machine, and for enough on one that stands still for seconds.
        worker.admit(f"a{number}", ttl_s=16)
    while len(refused_at) < 4 * LEAST_SAMPLES:
        await asyncio.sleep(0)

    assert refused_at[LEAST_SAMPLES - 2] == 0
    assert refused_at[-1] > LEAST_SAMPLES
    assert {refusal for _, refusal in worker.refused} == {Refusal.TOO_LATE}
    assert worker.refused[0][0] == "a3999"
    for handling in tuple(worker.handlings.values()):
        worker.queue.discard(handling)
