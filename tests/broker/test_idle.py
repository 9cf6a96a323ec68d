"""What can wait is done when the loop has nothing else to do, or after a few turns."""

from __future__ import annotations

import asyncio
import time

from broker.idle import PATIENCE, QUIET_S, Idle


def spend(seconds: float) -> None:
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        pass


async def test_what_is_ready_is_done_first() -> None:
    done: list[str] = []
    loop, left = asyncio.get_running_loop(), 3

    def work() -> None:
        nonlocal left
        spend(10 * QUIET_S)
        done.append("work")
        left -= 1
        if left:
            loop.call_soon(work)

    loop.call_soon(work)
    Idle().call(lambda: done.append("idle"))
    await asyncio.sleep(0.05)

    assert done == ["work", "work", "work", "idle"]


async def test_it_is_done_before_long_though_there_is_always_something_else() -> None:
    loop, turns, done_at = asyncio.get_running_loop(), 0, 0
    called = asyncio.Event()

    def work() -> None:
        nonlocal turns
        spend(10 * QUIET_S)
        turns += 1
        if not called.is_set():
            loop.call_soon(work)

    def note() -> None:
        nonlocal done_at
        done_at = turns
        called.set()

    loop.call_soon(work)
    Idle().call(note)
    await called.wait()

    assert PATIENCE <= done_at <= PATIENCE + 2


async def test_each_is_called_once_and_may_ask_again() -> None:
    idle, done = Idle(), asyncio.Event()
    called: list[int] = []

    def again() -> None:
        called.append(2)
        idle.call(done.set)

    idle.call(lambda: called.append(1))
    idle.call(again)
    await done.wait()
    await asyncio.sleep(0.01)

    assert called == [1, 2]
