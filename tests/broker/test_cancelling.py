"""A cancellation is never lost in a call."""

from __future__ import annotations

import asyncio

import pytest

from broker.cancelling import cancellable


class CallError(Exception):
    """What a call fails with."""


async def test_a_call_returns_and_raises_as_it_is() -> None:
    async def answer() -> str:
        return "answer"

    async def fail() -> None:
        raise CallError

    assert await cancellable(answer()) == "answer"
    with pytest.raises(CallError):
        await cancellable(fail())


@pytest.mark.parametrize("fails", [False, True])
async def test_a_call_that_swallows_its_cancellation_is_left_behind(fails: bool) -> None:
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
