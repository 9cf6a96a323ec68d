"""Long work yields to the loop when its time slice is used up."""

from __future__ import annotations

import asyncio
import math

import pytest

from broker.runtime.cooperative import TimeSlice


@pytest.mark.parametrize(("slice_s", "turns"), [(0, 3), (math.inf, 0)])
async def test_a_checkpoint_yields_to_the_loop_only_after_the_slice(
    slice_s: float, turns: int
) -> None:
    counted = 0

    async def count_turns() -> None:
        nonlocal counted
        while True:
            counted += 1
            await asyncio.sleep(0)

    time_slice = TimeSlice(slice_s)
    other = asyncio.create_task(count_turns())
    for _ in range(3):
        await time_slice.checkpoint()

    assert counted == turns
    other.cancel()
