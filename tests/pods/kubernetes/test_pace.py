"""Work begins at a limited rate."""

from __future__ import annotations

import asyncio

from pods.kubernetes.pace import Pace


async def test_work_above_the_rate_waits_for_its_turn() -> None:
    pace, clock = Pace(per_s=100, burst=2), asyncio.get_running_loop()
    began_s = clock.time()

    for _ in range(7):
        await pace.take()

    # Two at once, and each of the other five 10 ms after the one before; a timer may be early.
    assert clock.time() - began_s >= 0.04
