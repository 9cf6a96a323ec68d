"""A pod that hangs under load is killed, and everything that waited for it is answered."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import Generator, open_generator
from examples.demo.platform import FOX, Platform, wait_for
from fox.data_dir import KEY_FILE, read_info
from tests.e2e import slow_app

pytestmark = pytest.mark.faults

RATE_PER_S = 100
LOAD_S = 3.0
CONNECTIONS = 100
SELECTORS = "kf-dep=slow&kf-ve=here"


@pytest.fixture
async def generator() -> AsyncIterator[Generator]:
    async with open_generator() as generator:
        yield generator


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with serve_slow_app(tmp_path) as platform:
        yield platform


@contextlib.asynccontextmanager
async def serve_slow_app(tmp_path: Path) -> AsyncIterator[Platform]:
    """Run a platform that has deployed the slow app."""
    async with Platform(tmp_path / "data") as platform:
        folder = tmp_path / "app"
        slow_app.build(folder)
        await platform.fox("apply", "-f", folder / "environments.yaml")
        await platform.fox("deploy", "slow", "--dirty", "--wait", cwd=folder)
        yield platform


def start_load(
    generator: Generator, platform: Platform, *, body_bytes: int = 0
) -> asyncio.Task[Outcome]:
    """Start a load of GETs, or of POSTs if they have a body."""
    job = Job(
        port=urlsplit(platform.http_url).port or 0,
        paths=(f"/block?{SELECTORS}&for_s=0",),
        connections=CONNECTIONS,
        duration_s=LOAD_S,
        rate_per_s=RATE_PER_S,
        body_bytes=body_bytes,
        grace_s=25,
    )
    return asyncio.create_task(generator.run(job))


async def block(platform: Platform) -> int:
    """Block the event loop of the pod for an hour, and return the status of the answer."""
    url = f"{platform.http_url}/block?{SELECTORS}&for_s=3600"
    async with aiohttp.request("POST", url) as response:
        return response.status


async def restarts(platform: Platform) -> int:
    (pod,) = await platform.get("pods")
    count: int = pod["restarts"]
    return count


async def test_only_requests_at_the_pod_fail_when_the_only_pod_is_stopped_by_a_signal(
    generator: Generator, platform: Platform
) -> None:
    (pod,) = await platform.get("pods")
    load = start_load(generator, platform)
    await asyncio.sleep(LOAD_S / 3)
    os.kill(pod["pid"], signal.SIGSTOP)
    outcome = await load

    # GETs are sent again within the retry budget; more of them may have been at the pod.
    assert outcome.failures.keys() <= {"502"}
    assert outcome.failures.get("502", 0) <= CONNECTIONS
    assert outcome.answers == RATE_PER_S * LOAD_S
    assert await restarts(platform) == 1
    assert "stopped by a signal" in platform.log.read_text()


async def test_only_requests_at_the_pod_fail_when_a_handler_blocks_the_only_pod(
    generator: Generator, platform: Platform
) -> None:
    load = start_load(generator, platform, body_bytes=1)
    await asyncio.sleep(LOAD_S / 3)
    status = await block(platform)
    outcome = await load

    assert status == 502
    assert outcome.failures.keys() == {"502"}
    assert outcome.failures["502"] <= CONNECTIONS
    assert outcome.answers == RATE_PER_S * LOAD_S
    assert await restarts(platform) == 1
    assert "stood still for" in platform.log.read_text()


async def test_an_idle_pod_that_was_stopped_by_a_signal_is_replaced(platform: Platform) -> None:
    (pod,) = await platform.get("pods")
    os.kill(pod["pid"], signal.SIGSTOP)

    url = f"{platform.http_url}/block?{SELECTORS}&for_s=0"
    async with aiohttp.request("GET", url) as response:
        status = response.status

    assert status == 200
    assert await restarts(platform) == 1


@contextlib.asynccontextmanager
async def second_runner(platform: Platform, data_dir: Path) -> AsyncIterator[None]:
    """Run ``fox serve pods`` beside a platform; each of both runs a pod of every version."""
    info = await asyncio.to_thread(read_info, platform.data_dir)
    assert info is not None
    process = await asyncio.create_subprocess_exec(
        *(FOX, "serve", "pods"),
        env={
            **os.environ,
            "FOX_NATS_URL": info.nats_url,
            "FOX_NATS_CREDENTIALS": info.nats_credentials,
            "FOX_DATA_DIR": str(data_dir),
            "FOX_KEY_FILE": str(platform.data_dir / KEY_FILE),
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await platform.wait_pods(2)
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("fault", ["blocked", "stopped"])
async def test_a_hung_pod_is_killed_early_while_another_one_serves(
    generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    # Without the other pod, it would be killed after the test only.
    monkeypatch.setenv("FOX_POD_LIVENESS_S", "600")
    async with (
        serve_slow_app(tmp_path) as platform,
        second_runner(platform, tmp_path / "second"),
    ):
        pods = await wait_ready(platform)
        load = start_load(generator, platform, body_bytes=1)
        await asyncio.sleep(LOAD_S / 3)
        if fault == "blocked":
            assert await block(platform) == 502
        else:
            os.kill(pods[0]["pid"], signal.SIGSTOP)
        outcome = await load
        after = await wait_ready(platform)

    assert outcome.failures.keys() <= {"502"}
    assert outcome.failures.get("502", 0) <= CONNECTIONS
    assert outcome.answers == RATE_PER_S * LOAD_S
    assert sum(pod["restarts"] for pod in after) == 1


async def wait_ready(platform: Platform) -> list[dict[str, Any]]:
    """Return the pods as soon as all of them are ready."""

    async def is_reached() -> bool:
        return all(pod["phase"] == "ready" for pod in await platform.get("pods"))

    await wait_for(is_reached, 60)
    return await platform.get("pods")
