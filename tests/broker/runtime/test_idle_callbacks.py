"""Callbacks run when the loop has nothing else to do, or after a number of busy turns."""

from __future__ import annotations

import asyncio
import math

from broker.runtime.idle_callbacks import IdleCallbacks


async def test_a_callback_waits_while_the_loop_is_busy() -> None:
    loop, done, turns_left = asyncio.get_running_loop(), list[str](), 3
    # No turn is quick enough to count as idle.
    idle, called = IdleCallbacks(quiet_turn_s=0, max_turns=10), asyncio.Event()

    def work() -> None:
        nonlocal turns_left
        done.append("work")
        turns_left -= 1
        if turns_left:
            loop.call_soon(work)

    def note() -> None:
        done.append("idle")
        called.set()

    loop.call_soon(work)
    idle.call_when_idle(note)
    await called.wait()

    assert done == ["work", "work", "work", "idle"]


async def test_a_callback_runs_after_the_largest_number_of_busy_turns() -> None:
    loop, turns, called_at = asyncio.get_running_loop(), 0, 0
    idle, called = IdleCallbacks(quiet_turn_s=0, max_turns=8), asyncio.Event()

    def work() -> None:
        nonlocal turns
        turns += 1
        if not called.is_set():
            loop.call_soon(work)

    def note() -> None:
        nonlocal called_at
        called_at = turns
        called.set()

    loop.call_soon(work)
    idle.call_when_idle(note)
    await called.wait()

    assert 8 <= called_at <= 10


async def test_a_callback_runs_in_the_first_idle_turn() -> None:
    loop, turns = asyncio.get_running_loop(), 0
    # Every turn counts as idle.
    idle, called = IdleCallbacks(quiet_turn_s=math.inf), asyncio.Event()

    def work() -> None:
        nonlocal turns
        turns += 1
        if not called.is_set():
            loop.call_soon(work)

    loop.call_soon(work)
    idle.call_when_idle(called.set)
    await called.wait()

    assert turns <= 2


async def test_each_callback_runs_once_and_may_add_another() -> None:
    idle, done = IdleCallbacks(), asyncio.Event()
    called: list[int] = []

    def add_another() -> None:
        called.append(2)
        idle.call_when_idle(done.set)

    idle.call_when_idle(lambda: called.append(1))
    idle.call_when_idle(add_another)
    await done.wait()
    await asyncio.sleep(0)

    assert called == [1, 2]
