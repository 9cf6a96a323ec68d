"""The lock of emitted events: an event under suspicion runs alone, and nothing waits for ever."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox.kit.run_lock import RunLock


async def is_waiting(task: asyncio.Task[None]) -> bool:
    await asyncio.sleep(0)
    return not task.done()


async def test_events_that_are_not_suspect_run_beside_each_other() -> None:
    lock = RunLock()

    await lock.acquire(is_alone=False)
    await lock.acquire(is_alone=False)


async def test_a_suspect_event_waits_for_those_that_run_and_those_behind_it_wait_for_it() -> None:
    lock = RunLock()
    await lock.acquire(is_alone=False)

    suspect = asyncio.create_task(lock.acquire(is_alone=True))
    assert await is_waiting(suspect)
    later = asyncio.create_task(lock.acquire(is_alone=False))
    assert await is_waiting(later)
    lock.release(is_alone=False)
    await suspect

    assert await is_waiting(later)
    lock.release(is_alone=True)
    await later


async def test_a_cancelled_wait_lets_those_behind_it_run() -> None:
    lock = RunLock()
    await lock.acquire(is_alone=False)
    suspect = asyncio.create_task(lock.acquire(is_alone=True))
    later = asyncio.create_task(lock.acquire(is_alone=False))
    assert await is_waiting(later)

    suspect.cancel()
    await later

    with pytest.raises(asyncio.CancelledError):
        await suspect


async def test_a_turn_that_comes_with_the_cancellation_is_handed_back() -> None:
    lock = RunLock()
    await lock.acquire(is_alone=True)
    waiting = asyncio.create_task(lock.acquire(is_alone=True))
    assert await is_waiting(waiting)

    lock.release(is_alone=True)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await lock.acquire(is_alone=True)


async def test_a_wait_may_be_cancelled_at_the_moment_of_a_release() -> None:
    lock = RunLock()
    await lock.acquire(is_alone=True)
    waiting = asyncio.create_task(lock.acquire(is_alone=True))
    later = asyncio.create_task(lock.acquire(is_alone=False))
    assert await is_waiting(later)

    waiting.cancel()
    lock.release(is_alone=True)
    await later

    with pytest.raises(asyncio.CancelledError):
        await waiting


@given(kinds=st.lists(st.booleans(), max_size=30))
async def test_no_event_runs_beside_a_suspect_one_and_all_run(kinds: list[bool]) -> None:
    lock, running, ended = RunLock(), [], 0

    async def run(*, is_alone: bool) -> None:
        nonlocal ended
        await lock.acquire(is_alone=is_alone)
        running.append(is_alone)
        assert len(running) == 1 or not any(running)
        await asyncio.sleep(0)
        assert len(running) == 1 or not any(running)
        running.remove(is_alone)
        lock.release(is_alone=is_alone)
        ended += 1

    await asyncio.gather(*(run(is_alone=is_alone) for is_alone in kinds))

    assert ended == len(kinds)
