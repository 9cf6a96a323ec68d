"""The embedded NATS: what fails in it is told apart from what fails beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fox.nats_server import run_nats_server
from model.errors import NatsUnavailable


def test_a_failure_beside_a_running_server_stays_what_it_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with run_nats_server(tmp_path):
            raise TimeoutError("something else took too long")

    with pytest.raises(TimeoutError, match="something else"):
        asyncio.run(run())


def test_a_server_that_cannot_start_is_told_with_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "jetstream").write_text("not a folder")

    async def run() -> None:
        async with run_nats_server(tmp_path):
            pass

    with pytest.raises(NatsUnavailable, match=r"(?s)did not start.*not a directory"):
        asyncio.run(run())
