"""Cooperative yielding: long work yields to the event loop, so that other tasks can run."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from time import perf_counter
from typing import TypeVar

Result = TypeVar("Result")

TIME_SLICE_S = 0.001
"""How long work may hold the loop without yielding, and a little more: the rest of its step.

A request needs several turns of the loop and waits for a slice in each of them. With slices of 5 ms
one request beside such work took 33 ms, with 1 ms 4 ms (``benchmarks.worst_inputs``). A turn of an
idle loop takes 10 to 20 µs.
"""


class TimeSlice:
    """The time that one piece of work may hold the loop; it starts when this is made.

    Args:
        slice_s: How long the work may hold the loop; None means ``TIME_SLICE_S``.
    """

    def __init__(self, slice_s: float | None = None) -> None:
        self._slice_s = TIME_SLICE_S if slice_s is None else slice_s
        self._since = perf_counter()

    async def checkpoint(self) -> None:
        """Yield to the loop if the slice is used up; to be called after every step."""
        if perf_counter() - self._since >= self._slice_s:
            await asyncio.sleep(0)
            self._since = perf_counter()


async def run_in_slices(steps: Generator[None, None, Result]) -> Result:
    """Return the result of steps (``kubefox.steps``); between the steps, other tasks run.

    Raises:
        Exception: What the steps raise.
    """
    time_slice = TimeSlice()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        await time_slice.checkpoint()
