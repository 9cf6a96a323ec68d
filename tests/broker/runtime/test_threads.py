"""Blocking calls in threads leave nothing open, however their caller ends."""

from __future__ import annotations

import asyncio
import threading

import pytest

from broker.runtime.threads import in_thread, opened


class Door:
    """Something to open, which takes until ``may_open`` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.opening, self.may_open = threading.Event(), threading.Event()
        self.steps: list[str] = []
        self._error = error

    def open(self) -> None:
        self.opening.set()
        assert self.may_open.wait(60)
        self.steps.append("opened")
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.steps.append("closed")


@pytest.mark.parametrize("cancellations", [1, 2])
async def test_a_cancelled_caller_waits_for_the_end_of_a_blocking_call(cancellations: int) -> None:
    door = Door()

    async def use() -> None:
        async with opened(door):
            door.steps.append("used")

    task = asyncio.create_task(use())
    await in_thread(door.opening.wait)
    for _ in range(cancellations):
        task.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
    assert not task.done()
    door.may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert door.steps == ["opened", "closed"]


async def test_a_failure_to_open_is_raised_and_followed_by_close() -> None:
    door = Door(PermissionError("not permitted"))
    door.may_open.set()

    with pytest.raises(PermissionError, match="not permitted"):
        async with opened(door):
            door.steps.append("used")

    assert door.steps == ["opened", "closed"]
