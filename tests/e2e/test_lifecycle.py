"""``fox up`` from start to end, on platforms of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from examples.demo.page import Browser
from examples.demo.platform import CommandFailed, Platform, wait_for
from examples.order_app import ENVIRONMENTS, build
from tests.e2e import slow_app
from tests.e2e.processes import family, is_alive

SOON_S = 60
POLL_S = 0.02


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with Platform(tmp_path / "data") as platform:
        yield platform


async def wait_gone(processes: Iterable[int]) -> None:
    """Wait until none of the processes is left."""

    async def gone() -> bool:
        return not any(is_alive(pid) for pid in processes)

    await wait_for(gone, SOON_S)


async def test_a_restart_brings_deployments_releases_and_data_back(tmp_path: Path) -> None:
    repository = tmp_path / "order-app"
    build(repository)
    first = Platform(tmp_path / "data")
    async with first, Browser(first.http_url) as browser:
        await first.fox("apply", "-f", ENVIRONMENTS, cwd=repository)
        await first.fox("deploy", "--ref", "v1", "--version", "v1", "--wait", cwd=repository)
        await first.fox("release", "v1", "--virtual-env", "team-a", "--wait")
        await browser.place_order("team-a", "Ada")
        exit_code = await first.stop()

    second = Platform(tmp_path / "data")
    async with second, Browser(second.http_url) as browser:

        async def served() -> bool:
            return (await browser.get("team-a")).status == 200

        async def logged() -> bool:
            return "ready: released 3 of 3, others 0 of 0" in second.log.read_text()

        await wait_for(served, SOON_S)
        await wait_for(logged, SOON_S)
        page = await browser.get("team-a")
        pods = await second.get("pods")

    assert exit_code == 0
    assert page.deployment == "order-app-v1"
    assert "Ada" in page.text
    assert len(pods) == 3


async def test_a_second_platform_on_one_data_folder_is_refused(platform: Platform) -> None:
    second = Platform(platform.data_dir)
    second.log = platform.data_dir.with_name("second.log")

    with pytest.raises(CommandFailed, match=f"in use by process {platform.process.pid}"):
        await second.start()

    assert second.process.returncode == 1
    assert platform.process.returncode is None


async def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        platform = Platform(tmp_path / "data", http_port=port)

        with pytest.raises(CommandFailed, match=rf"{port}.* in use"):
            await platform.start()

    assert platform.process.returncode == 1


async def test_the_platform_ends_when_nats_dies_again_and_again(platform: Platform) -> None:
    seen: set[int] = set()

    async with asyncio.timeout(3 * SOON_S):
        while platform.process.returncode is None:
            # A process may end between two reads of /proc.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                processes = family(platform.process.pid)
                seen |= processes.keys()
                for pid, name in processes.items():
                    if name == "nats-server":
                        os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(POLL_S)

    assert platform.process.returncode == 1
    assert "nats-server" in platform.log.read_text()
    await wait_gone(seen)


async def test_a_full_disk_is_reported_and_deploys_work_again_with_room(
    slow: Platform, tmp_path: Path
) -> None:
    processes = family(slow.process.pid)
    nats = next(pid for pid, name in processes.items() if name == "nats-server")
    app = tmp_path / "app"
    (app / "components" / "slow" / "data").write_bytes(os.urandom(300_000))
    # This makes writes of nats-server fail as on a full disk.
    resource.prlimit(nats, resource.RLIMIT_FSIZE, (100_000, 100_000))

    async with asyncio.TaskGroup() as group:
        refused = group.create_task(slow.run("deploy", "larger", "--dirty", cwd=app))
        await wait_for(readiness_contains(slow, "not ready: storage"), SOON_S)
    await wait_for(readiness_contains(slow, '"status":"ok"'), 2 * SOON_S)
    await slow.fox("deploy", "larger", "--dirty", "--wait", cwd=app)

    assert "make room on its disk" in refused.result().err


def readiness_contains(platform: Platform, text: str) -> Callable[[], Awaitable[bool]]:
    """Return the condition that the answer of ``/readyz`` contains ``text``."""

    async def condition() -> bool:
        async with aiohttp.request("GET", f"{platform.control_url}/readyz") as response:
            return text in await response.text()

    return condition


async def test_a_platform_that_is_killed_leaves_no_process_behind(slow: Platform) -> None:
    processes = family(slow.process.pid)

    await slow.stop(signal.SIGKILL)

    await wait_gone(processes)


async def test_ctrl_c_waits_for_requests_in_flight(slow: Platform, tmp_path: Path) -> None:
    processes = family(slow.process.pid)
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(request_slow(slow, tmp_path))
        await wait_for(exists(tmp_path / "begun"), SOON_S)

        slow.process.send_signal(signal.SIGINT)
        await wait_for(refuses(slow), SOON_S)
        (tmp_path / "end").touch()

    assert answer.result() == (200, "done")
    assert await slow.process.wait() == 0
    await wait_gone(processes)


async def test_a_second_ctrl_c_ends_it_at_once(slow: Platform, tmp_path: Path) -> None:
    processes = family(slow.process.pid)
    async with asyncio.TaskGroup() as group:
        group.create_task(request_cut_off(slow, tmp_path))
        await wait_for(exists(tmp_path / "begun"), SOON_S)

        slow.process.send_signal(signal.SIGINT)
        await wait_for(refuses(slow), SOON_S)
        slow.process.send_signal(signal.SIGINT)

    assert await slow.process.wait() == 130
    await wait_gone(processes)


async def has_restarts(platform: Platform, count: int) -> bool:
    return [pod["restarts"] for pod in await platform.get("pods")] == [count]


async def test_a_pod_with_a_blocking_handler_is_killed_and_its_callers_get_502(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FOX_POD_LIVENESS_S", "4")
    async with Platform(tmp_path / "data") as platform:
        await deploy_slow(platform, tmp_path / "app")
        briefly = await request_blocking(platform, 0.1)
        (before,) = await platform.get("pods")

        async with asyncio.timeout(SOON_S):
            forever = await request_blocking(platform, 3600)
        # Its restart is counted after a pause.
        await wait_for(partial(has_restarts, platform, 1), SOON_S)
        await platform.wait_ready("slow", 1)

        logs = await platform.fox("logs", "slow")
        assert (await request_blocking(platform, 0))[0] == 200

    assert briefly[0] == 200
    assert forever[0] == 502
    assert before["restarts"] == 0
    # The stack of the pod names the blocking function.
    assert "in block" in logs
    assert "stood still for" in platform.log.read_text()


async def request_blocking(platform: Platform, for_s: float) -> tuple[int, str]:
    """Return the answer of a handler that blocks the event loop for ``for_s``.

    It is a POST: a GET would be sent again, and block the next pod.
    """
    query = {"kf-dep": "slow", "kf-ve": "here", "for_s": str(for_s)}
    async with aiohttp.request("POST", f"{platform.http_url}/block", params=query) as response:
        return response.status, await response.text()


@pytest.fixture
async def slow(platform: Platform, tmp_path: Path) -> Platform:
    """A platform with an app that answers when the signal file ``end`` exists."""
    await deploy_slow(platform, tmp_path / "app")
    return platform


async def deploy_slow(platform: Platform, folder: Path) -> None:
    """Create the app in ``folder`` and deploy it."""
    slow_app.build(folder)
    await platform.fox("apply", "-f", folder / "environments.yaml")
    await platform.fox("deploy", "slow", "--dirty", "--wait", cwd=folder)


async def request_slow(platform: Platform, signals: Path) -> tuple[int, str]:
    """Return the answer of a handler that waits for the signal file ``end``."""
    query = {"kf-dep": "slow", "kf-ve": "here", "signals": str(signals)}
    async with aiohttp.request("GET", f"{platform.http_url}/slow", params=query) as response:
        return response.status, await response.text()


async def request_cut_off(platform: Platform, signals: Path) -> None:
    """Send a request that is cut off or refused before the handler answers."""
    with contextlib.suppress(aiohttp.ClientError):
        status, _ = await request_slow(platform, signals)
        assert status != 200


def exists(file: Path) -> Callable[[], Awaitable[bool]]:
    """Return the condition that the file exists."""

    async def condition() -> bool:
        return file.exists()

    return condition


def refuses(platform: Platform) -> Callable[[], Awaitable[bool]]:
    """Return the condition that new requests are refused."""

    async def condition() -> bool:
        try:
            async with aiohttp.request("GET", f"{platform.http_url}/anything") as response:
                return response.status == 503
        except aiohttp.ClientError:
            return True

    return condition
