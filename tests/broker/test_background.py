"""What runs beside ends with its context, and is heard of when it ends before."""

from __future__ import annotations

import asyncio

import pytest

from broker.background import running


async def test_it_runs_until_the_context_ends_and_has_ended_then() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    async with running(work(), "working"):
        await begun.wait()
        assert not ended.is_set()

    assert ended.is_set()


async def test_what_fails_is_told_at_once_and_ends_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        raise ValueError("no more")

    async with running(work(), "working"):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        (record,) = caplog.records

    assert record.message == "working has stopped for good"
    assert record.exc_info
    assert len(caplog.records) == 1
