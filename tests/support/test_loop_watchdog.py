"""The watchdog sees how long a task or a callback holds the loop."""

from __future__ import annotations

import asyncio

import pytest

from broker.runtime.cooperative import run_in_slices
from kubefox.steps import Steps
from tests.support.loop_watchdog import watch_loop


def work(calls: int) -> None:
    for _ in range(calls):
        len("")


async def test_a_task_that_holds_the_loop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hold() -> None:
        await asyncio.sleep(0)
        work(5_000)

    with watch_loop(monkeypatch) as watchdog:
        await asyncio.create_task(hold())

    assert 5_000 < watchdog.most_calls < 6_000
    assert watchdog.longest.endswith("hold")


async def test_a_callback_that_holds_the_loop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with watch_loop(monkeypatch) as watchdog:
        asyncio.get_running_loop().call_later(0, work, 5_000)
        await asyncio.sleep(0.001)

    assert watchdog.most_calls > 5_000
    assert watchdog.longest == "work"


async def test_steps_count_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def steps() -> Steps[None]:
        for _ in range(10):
            work(1_000)
            yield

    with watch_loop(monkeypatch) as watchdog:
        await run_in_slices(steps())

    assert 1_000 < watchdog.most_calls < 1_200
    assert watchdog.turns > 10
