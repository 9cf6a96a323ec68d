"""A background task ends with its context, and its early failure is logged."""

from __future__ import annotations

import asyncio

import pytest

from broker.runtime.background import run_in_background


async def test_a_background_task_runs_until_its_context_ends() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    async with run_in_background(work(), "working"):
        await begun.wait()
        assert not ended.is_set()

    assert ended.is_set()


async def test_a_failure_of_a_background_task_is_logged_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        raise ValueError("no more")

    async with run_in_background(work(), "working"):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        (record,) = caplog.records

    assert record.message == "working has stopped for good"
    assert record.exc_info
    assert len(caplog.records) == 1
