"""A cancellation is never lost in a call."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from broker.runtime.cancelling import cancellable, finishes_before, within


class CallError(Exception):
    """The failure of a call."""


async def test_a_cancellable_call_returns_and_raises_as_the_call_does() -> None:
    async def answer() -> str:
        return "answer"

    async def fail() -> None:
        raise CallError

    assert await cancellable(answer()) == "answer"
    with pytest.raises(CallError):
        await cancellable(fail())


@pytest.mark.parametrize("fails", [False, True])
async def test_a_call_that_swallows_its_cancellation_does_not_delay_the_caller(fails: bool) -> None:
    called = asyncio.Event()

    async def swallow() -> None:
        called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if fails:
                raise CallError from None

    task = asyncio.create_task(cancellable(swallow()))
    await called.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_call_ends_within_its_time_although_it_swallows_cancellations() -> None:
    cancellations = 0

    async def swallow_two() -> None:
        nonlocal cancellations
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations += 1
                if cancellations == 3:
                    raise

    with pytest.raises(TimeoutError):
        await within(0, swallow_two(), again_s=0)

    assert cancellations == 3


async def test_a_call_within_its_time_returns_and_raises_as_the_call_does() -> None:
    async def answer() -> str:
        return "answer"

    async def fail() -> None:
        raise CallError

    assert await within(60, answer()) == "answer"
    with pytest.raises(CallError):
        await within(60, fail())


async def test_a_call_whose_caller_is_cancelled_has_ended_before_its_caller() -> None:
    called, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        called.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(within(60, work()))
    await called.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_work_that_ends_before_the_event_is_awaited_to_its_end() -> None:
    stop = asyncio.Event()

    assert await finishes_before(stop, asyncio.sleep(0))


async def test_an_event_cancels_the_work_and_not_its_caller() -> None:
    stop, began = asyncio.Event(), asyncio.Event()
    closed = []

    async def work() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    waiting = asyncio.create_task(finishes_before(stop, work()))
    await began.wait()
    stop.set()

    assert not await waiting
    assert closed == [True]


async def test_a_time_out_of_the_work_is_not_taken_for_the_event() -> None:
    async def time_out() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await finishes_before(asyncio.Event(), time_out())


async def test_work_that_loses_its_cancellation_is_cancelled_again() -> None:
    stop, began = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            began.set()
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    waiting = asyncio.create_task(finishes_before(stop, work(), again_s=0.001))
    await began.wait()
    stop.set()

    assert not await waiting


async def test_a_cancellation_of_the_caller_is_not_taken_for_the_event() -> None:
    began = asyncio.Event()

    async def work() -> None:
        began.set()
        await asyncio.Event().wait()

    waiting = asyncio.create_task(finishes_before(asyncio.Event(), work()))
    await began.wait()
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_caller_goes_on_after_cancelled_work() -> None:
    stop = asyncio.Event()
    stop.set()

    async def caller() -> int:
        await finishes_before(stop, asyncio.Event().wait())
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert await asyncio.create_task(caller()) == 0
