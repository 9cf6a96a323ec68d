"""Tasks that handlers start take turns on the loop, as the handlers themselves do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextvars import Context

import pytest

from broker.dispatch.handler_tasks import HandlerTasks, follow
from broker.dispatch.handling import Handling
from tests.broker.dispatch.test_event_queue import Work, Worker, hold_loop

TASKS = 20


class FollowingWorker(Worker):
    """A worker whose handlers' tasks take turns."""

    async def _serve(self, handling: Handling) -> None:
        follow(handling)
        await super()._serve(handling)


@contextlib.contextmanager
def following(work: Work) -> Iterator[FollowingWorker]:
    worker = FollowingWorker(work)
    loop = asyncio.get_running_loop()
    loop.set_task_factory(HandlerTasks(worker.queue).make)
    try:
        yield worker
    finally:
        loop.set_task_factory(None)


@pytest.mark.parametrize("is_nested", [False, True])
async def test_an_event_waits_for_one_task_of_another_lane_at_most(*, is_nested: bool) -> None:
    slices: list[str] = []

    async def compute(name: str) -> None:
        hold_loop()
        slices.append(name)

    async def start_tasks(name: str) -> None:
        await asyncio.gather(*(compute(name) for _ in range(TASKS)))

    async def work(name: str) -> None:
        if name == "b":
            slices.append(name)
        elif is_nested:
            await asyncio.create_task(start_tasks(name))
        else:
            await start_tasks(name)

    with following(work) as worker:
        worker.admit("a")
        while len(slices) < 3:
            await asyncio.sleep(0)
        ended = len(slices)
        worker.admit("b")
        await worker.ended()

    assert ended < TASKS
    assert len(slices) == TASKS + 1
    assert slices.index("b") <= ended + 1


async def test_results_and_exceptions_of_tasks_are_unchanged() -> None:
    results: list[object] = []

    async def compute(number: int) -> int:
        hold_loop()
        await asyncio.sleep(0)
        if number == 1:
            raise LookupError("not found")
        return number

    async def work(_name: str) -> None:
        tasks = [asyncio.create_task(compute(number), name=f"{number}") for number in range(3)]
        results.extend(task.get_name() for task in tasks)
        results.extend(await asyncio.gather(*tasks, return_exceptions=True))

    with following(work) as worker:
        worker.admit("a")
        await worker.ended()

    assert results[:4] == ["0", "1", "2", 0]
    assert repr(results[4]) == "LookupError('not found')"
    assert results[5:] == [2]


@pytest.mark.parametrize("last", [0, 2])
async def test_a_task_that_has_not_begun_can_be_cancelled(last: int) -> None:
    tasks: list[asyncio.Task[None]] = []
    begun: list[int] = []

    async def cancel_others(number: int) -> None:
        begun.append(number)
        hold_loop()
        if number == last:
            for task in tasks[number + 1 :]:
                task.cancel()

    async def work(_name: str) -> None:
        tasks.extend(asyncio.create_task(cancel_others(number)) for number in range(TASKS))
        await asyncio.wait(tasks)

    with following(work) as worker:
        worker.admit("a")
        await worker.ended()

    assert begun == list(range(last + 1))
    assert [task.cancelled() for task in tasks] == [number > last for number in range(TASKS)]


async def test_a_task_of_the_platform_waits_for_no_turn_of_an_event() -> None:
    slices: list[str] = []

    async def compute(name: str) -> None:
        hold_loop()
        slices.append(name)

    async def note(name: str) -> None:
        slices.append(name)

    async def work(name: str) -> None:
        tasks = [asyncio.create_task(compute(name)) for _ in range(TASKS)]
        tasks.append(asyncio.create_task(note("platform"), context=Context()))
        await asyncio.wait(tasks)

    with following(work) as worker:
        worker.admit("a")
        await worker.ended()

    # Behind one slice of the event at most: on a slow machine the event waits for its turn earlier.
    assert slices.index("platform") <= 1
