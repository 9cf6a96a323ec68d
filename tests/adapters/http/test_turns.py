"""The steps of an adapter take turns on the loop, fairly by lanes."""

from __future__ import annotations

import asyncio

from adapters.http.turns import MOST_STEPS, Turns

STEPS = 10 * MOST_STEPS


async def step(turns: Turns, lane: str, done: list[str]) -> None:
    if not turns.take(lane):
        await turns.wait(lane)
    done.append(lane)


async def test_so_many_steps_are_done_in_one_turn_of_the_loop() -> None:
    turns, done = Turns(), list[str]()
    counts: list[int] = []

    async with asyncio.TaskGroup() as group:
        for _ in range(STEPS):
            group.create_task(step(turns, "a", done))
        while len(done) < STEPS:
            await asyncio.sleep(0)
            counts.append(len(done))

    in_each = [after - before for before, after in zip([0, *counts], counts, strict=False)]
    assert max(in_each) <= MOST_STEPS + 1


async def test_a_step_of_another_lane_waits_for_few_of_a_flood() -> None:
    turns, done = Turns(), list[str]()

    async with asyncio.TaskGroup() as group:
        for _ in range(STEPS):
            group.create_task(step(turns, "a", done))
        group.create_task(step(turns, "b", done))

    assert len(done) == STEPS + 1
    assert done.index("b") <= MOST_STEPS + 1


async def test_a_lane_without_waiting_steps_gets_one_in_each_turn_beside_a_flood() -> None:
    turns = Turns()
    while turns.take("a"):
        pass

    assert [turns.take("b"), turns.take("b"), turns.take("a")] == [True, False, False]
    assert [turns.take(f"c{number}") for number in range(STEPS)].count(True) < MOST_STEPS


async def test_a_step_that_is_cancelled_takes_no_turn() -> None:
    turns, done = Turns(), list[str]()
    tasks = [asyncio.create_task(step(turns, "a", done)) for _ in range(STEPS)]
    last = asyncio.create_task(step(turns, "a", done))
    await asyncio.sleep(0)

    for task in tasks:
        task.cancel()
    await last

    assert len(done) == MOST_STEPS + 2


async def test_calls_are_made_in_turns() -> None:
    turns, done = Turns(), list[str]()
    for _ in range(STEPS):
        turns.call("a", lambda: done.append("a"))
    turns.call("b", lambda: done.append("b"))

    at_once = len(done)
    while len(done) < STEPS + 1:
        await asyncio.sleep(0)

    assert at_once == MOST_STEPS + 2


async def test_steps_of_many_turns_are_all_done_whatever_their_number() -> None:
    turns, done = Turns(), list[str]()
    numbers = (1, MOST_STEPS - 1, MOST_STEPS, MOST_STEPS + 1, 2 * MOST_STEPS, STEPS, 1)
    for number in numbers:
        await asyncio.gather(*(step(turns, "a", done) for _ in range(number)))

    assert len(done) == sum(numbers)
    assert not turns._waiting
