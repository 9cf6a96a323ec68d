"""Limits of how often something is done."""

from __future__ import annotations

import asyncio

from fox.custom_resources.pace import Attempts, Pace


async def test_work_above_the_rate_waits_for_its_turn() -> None:
    pace, clock = Pace(per_s=100, burst=2), asyncio.get_running_loop()
    began_s = clock.time()

    for _ in range(7):
        await pace.take()

    # Two at once, and each of the other five 10 ms after the one before; a timer may be early.
    assert clock.time() - began_s >= 0.04


def test_attempts_are_counted_for_each_key_within_the_time() -> None:
    now_s = 100.0
    attempts = Attempts(2, 10.0, lambda: now_s)

    first = [attempts.wait_s("a"), attempts.wait_s("a"), attempts.wait_s("b")]
    refused_s = attempts.wait_s("a")
    now_s = 111.0

    assert first == [0, 0, 0]
    assert refused_s == 10.0
    assert attempts.wait_s("a") == 0
