"""What can wait is done when the loop has nothing else to do, or before long."""

from __future__ import annotations

import asyncio
import time

from broker.idle import PATIENCE_S, Idle


def spend(seconds: float) -> None:
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        pass


async def test_what_is_ready_is_done_first() -> None:
    done: list[str] = []
    loop, left = asyncio.get_running_loop(), 3

    def work() -> None:
        nonlocal left
        spend(PATIENCE_S / 10)
        done.append("work")
        left -= 1
        if left:
            loop.call_soon(work)

    loop.call_soon(work)
    Idle().call(lambda: done.append("idle"))
    await asyncio.sleep(10 * PATIENCE_S)

    assert done == ["work", "work", "work", "idle"]


async def test_it_is_done_before_long_though_there_is_always_something_else() -> None:
    loop, is_busy = asyncio.get_running_loop(), True
    called = asyncio.Event()

    def work() -> None:
        spend(PATIENCE_S / 10)
        if is_busy:
            loop.call_soon(work)

    loop.call_soon(work)
    Idle().call(called.set)
    async with asyncio.timeout(100 * PATIENCE_S):
        await called.wait()
    is_busy = False


async def test_each_is_called_once_and_may_ask_again() -> None:
    idle, done = Idle(), asyncio.Event()
    called: list[int] = []

    def again() -> None:
        called.append(2)
        idle.call(done.set)

    idle.call(lambda: called.append(1))
    idle.call(again)
    await done.wait()
    await asyncio.sleep(5 * PATIENCE_S)

    assert called == [1, 2]
