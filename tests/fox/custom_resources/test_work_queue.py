"""The queue of resources that need work."""

from __future__ import annotations

import asyncio

from fox.custom_resources.work_queue import WorkQueue


async def test_a_key_waits_once_however_often_it_arrives() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)

    taken = [await queue.take(), await queue.take()]
    queue.close()

    assert taken == ["a", "b"]
    assert await queue.take() is None


async def test_a_key_that_arrives_while_it_is_worked_on_is_worked_on_again_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.take()
    queue.add("a")
    queue.add("b")

    others = await queue.take()
    queue.done("a")

    assert others == "b"
    assert await queue.take() == "a"


async def test_a_key_that_is_taken_earlier_does_not_come_back_at_its_time() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_later("a", 3600)
    queue.add_later("b", 0)
    queue.add("a")

    taken = {await queue.take(), await queue.take()}

    assert taken == {"a", "b"}
    assert not queue._timers


async def test_closing_ends_the_tasks_that_wait_for_a_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)

    queue.close()

    assert await waiting is None
