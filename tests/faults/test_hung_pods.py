"""A pod that hangs under load is killed, and everything that waited for it is answered."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio

from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import Generator, open_generator
from examples.demo.platform import FOX, Platform, wait_for
from fox.data_dir import KEY_FILE, read_info
from tests.e2e import slow_app
from tests.faults.new_version import change_hashes

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

RATE_PER_S = 100
LOAD_S = 3.0
CONNECTIONS = 100
SOON_S = 60
# A slow machine takes longer than the default until a pod is ready again.
HOLD_S = "20"
SELECTORS = "kf-dep=slow&kf-ve=here"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generator() -> AsyncIterator[Generator]:
    async with open_generator() as generator:
        yield generator


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    async with serve_slow_app(tmp_path_factory.mktemp("hung")) as platform:
        yield platform


@pytest_asyncio.fixture(loop_scope="module")
async def platform(shared: Platform) -> Platform:
    """The shared platform, with one new pod."""
    await deploy_new_version(shared)
    return shared


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two_runners(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """A platform with two pod runners, which kill a pod early or not at all."""
    folder = tmp_path_factory.mktemp("early")
    with pytest.MonkeyPatch.context() as patch:
        # Without the other pod, it would be killed after the test only.
        patch.setenv("FOX_POD_LIVENESS_S", "600")
        async with (
            serve_slow_app(folder) as platform,
            second_runner(platform, folder / "second"),
        ):
            yield platform


@pytest_asyncio.fixture(loop_scope="module")
async def replicas(two_runners: Platform) -> Platform:
    """The platform with two pod runners, each with one new pod."""
    await deploy_new_version(two_runners)
    await two_runners.wait_ready("slow", 2)
    return two_runners


@contextlib.asynccontextmanager
async def serve_slow_app(folder: Path) -> AsyncIterator[Platform]:
    """Run a platform, with the slow app beside its data folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOX_HOLD_S", HOLD_S)
        async with Platform(folder / "data") as platform:
            slow_app.build(folder / "app")
            await platform.fox("apply", "-f", folder / "app" / "environments.yaml")
            yield platform


async def deploy_new_version(platform: Platform) -> None:
    """Deploy the slow app with another hash, and wait until it alone has pods."""
    app = platform.data_dir.with_name("app")
    before = {pod["id"] for pod in await platform.pods()}
    change_hashes(app)
    await platform.fox("deploy", "slow", "--dirty", "--wait", cwd=app)

    async def are_gone() -> bool:
        return before.isdisjoint([pod["id"] for pod in await platform.pods()])

    await wait_for(are_gone, SOON_S)


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


async def wait_restarts(platform: Platform, count: int) -> None:
    """Wait until so many restarts of all pods are counted: each after a pause."""

    async def is_reached() -> bool:
        counts: list[int] = [pod["restarts"] for pod in await platform.pods()]
        return sum(counts) == count

    await wait_for(is_reached, SOON_S)


async def test_only_requests_at_the_pod_fail_when_the_only_pod_is_stopped_by_a_signal(
    generator: Generator, platform: Platform
) -> None:
    (pod,) = await platform.get("pods")
    logged = len(platform.log.read_text())
    load = start_load(generator, platform)
    await asyncio.sleep(LOAD_S / 3)
    os.kill(pod["pid"], signal.SIGSTOP)
    outcome = await load

    # GETs are sent again within the retry budget; more of them may have been at the pod.
    assert outcome.failures.keys() <= {"502"}
    assert outcome.failures.get("502", 0) <= CONNECTIONS
    assert outcome.answers == RATE_PER_S * LOAD_S
    await wait_restarts(platform, 1)
    assert "stopped by a signal" in platform.log.read_text()[logged:]


async def test_only_requests_at_the_pod_fail_when_a_handler_blocks_the_only_pod(
    generator: Generator, platform: Platform
) -> None:
    logged = len(platform.log.read_text())
    load = start_load(generator, platform, body_bytes=1)
    await asyncio.sleep(LOAD_S / 3)
    status = await block(platform)
    outcome = await load

    assert status == 502
    assert outcome.failures.keys() == {"502"}
    assert outcome.failures["502"] <= CONNECTIONS
    assert outcome.answers == RATE_PER_S * LOAD_S
    await wait_restarts(platform, 1)
    assert "stood still for" in platform.log.read_text()[logged:]


async def test_an_idle_pod_that_was_stopped_by_a_signal_is_replaced(platform: Platform) -> None:
    (pod,) = await platform.get("pods")
    os.kill(pod["pid"], signal.SIGSTOP)

    url = f"{platform.http_url}/block?{SELECTORS}&for_s=0"
    async with aiohttp.request("GET", url) as response:
        status = response.status

    assert status == 200
    await wait_restarts(platform, 1)


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
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("fault", ["blocked", "stopped"])
async def test_a_hung_pod_is_killed_early_while_another_one_serves(
    generator: Generator, replicas: Platform, fault: str
) -> None:
    (pod, _) = await replicas.pods()
    load = start_load(generator, replicas, body_bytes=1)
    await asyncio.sleep(LOAD_S / 3)
    if fault == "blocked":
        assert await block(replicas) == 502
    else:
        os.kill(pod["pid"], signal.SIGSTOP)
    outcome = await load
    await wait_restarts(replicas, 1)
    await replicas.wait_ready("slow", 2)

    assert outcome.failures.keys() <= {"502"}
    assert outcome.failures.get("502", 0) <= CONNECTIONS
    assert outcome.answers == RATE_PER_S * LOAD_S
