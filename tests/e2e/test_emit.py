"""Emitted events on a whole platform of which a part dies or restarts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from examples.demo.platform import Platform, wait_for
from tests.support import emitting

SOON_S = 120


@pytest.fixture
async def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    """A platform with the emitting app, with short pauses and many attempts."""
    monkeypatch.setenv("FOX_EMIT_RETRY_S", "0.1")
    monkeypatch.setenv("FOX_EMIT_ATTEMPTS", "50")
    emitting.build(tmp_path / "app", "jobs")
    async with Platform(tmp_path / "data") as platform:
        await platform.fox("apply", "-f", tmp_path / "app" / "environments.yaml")
        await platform.fox("deploy", "jobs-v1", "--dirty", "--wait", cwd=tmp_path / "app")
        yield platform


async def emit(platform: Platform, name: str, signals: Path) -> str:
    query = {"kf-dep": "jobs-v1", "kf-ve": "jobs", "signals": str(signals)}
    async with aiohttp.request("GET", f"{platform.http_url}/jobs/{name}", params=query) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition on files holds."""

    async def holds() -> bool:
        return bool(condition())

    await wait_for(holds, SOON_S)


async def test_an_event_whose_pod_is_killed_is_delivered_to_the_next_one(
    platform: Platform, tmp_path: Path
) -> None:
    assert await emit(platform, "slow", tmp_path) == "stored"
    await wait_until((tmp_path / "slow-1").exists)
    worker = next(pod for pod in await platform.pods() if pod["component"] == "worker")

    os.kill(worker["pid"], signal.SIGKILL)
    await wait_until(lambda: len([*tmp_path.glob("slow-*")]) > 1)
    (tmp_path / "end").touch()
    await wait_until(lambda: emitting.done(tmp_path, "slow"))

    (attempt,) = emitting.done(tmp_path, "slow")
    assert int(attempt) > 1
    assert await platform.get("dead-letters") == []


async def test_a_restart_finishes_events_in_progress_and_delivers_the_rest(
    platform: Platform, tmp_path: Path
) -> None:
    await emit(platform, "slow", tmp_path)
    await emit(platform, "poison", tmp_path)
    await wait_until((tmp_path / "slow-1").exists)
    await wait_until((tmp_path / "poison-1").exists)

    platform.process.send_signal(signal.SIGINT)
    (tmp_path / "end").touch()
    async with asyncio.timeout(SOON_S):
        assert await platform.process.wait() == 0
    before = emitting.done(tmp_path, "slow"), emitting.done(tmp_path, "poison")
    (tmp_path / "cured").touch()
    async with Platform(platform.data_dir):
        await wait_until(lambda: emitting.done(tmp_path, "poison"))

    assert before == (["1"], [])
    assert emitting.done(tmp_path, "slow") == ["1"]
    assert not (tmp_path / "slow-2").exists()


async def test_pods_of_an_undeployed_version_stay_until_its_events_are_handled(
    platform: Platform, tmp_path: Path
) -> None:
    await emit(platform, "poison", tmp_path)
    await wait_until((tmp_path / "poison-1").exists)

    await platform.fox("undeploy", "jobs-v1")
    await wait_until((tmp_path / "poison-2").exists)
    (tmp_path / "cured").touch()
    await platform.wait_pods(0)

    assert len(emitting.done(tmp_path, "poison")) == 1
    assert await platform.get("dead-letters") == []
