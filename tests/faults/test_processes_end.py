"""A pod ends with everything that it has started, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from examples.demo.platform import Platform, wait_for
from tests.faults import tree_app

pytestmark = pytest.mark.faults

MARK = "KUBEFOX_TEST_MARK"
SOON_S = 60


class Marked:
    """The processes whose environment contains a mark, as the kernel keeps it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        value = str(uuid.uuid4())
        monkeypatch.setenv(MARK, value)
        monkeypatch.setenv("FOX_POD_ENV", MARK)
        self._mark = f"{MARK}={value}".encode()

    def pids(self) -> set[int]:
        """Return their process ids, without zombies: those have no environment."""
        return {int(process.name) for process in Path("/proc").glob("[0-9]*") if self._has(process)}

    def of_pods(self) -> set[int]:
        """Return the ids of pods, and of what they have started."""
        return {pid for pid in self.pids() if b"FOX_POD=" in environ(Path(f"/proc/{pid}"))}

    async def wait_gone(self, pids: set[int]) -> None:
        """Wait until none of these processes runs."""

        async def is_reached() -> bool:
            return not self.pids() & pids

        await wait_for(is_reached, SOON_S)

    def _has(self, process: Path) -> bool:
        return self._mark in environ(process)


def environ(process: Path) -> bytes:
    """Return the environment of a process; empty if it has ended."""
    with contextlib.suppress(OSError):
        return (process / "environ").read_bytes()
    return b""


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> Marked:
    return Marked(monkeypatch)


@pytest.fixture
async def platform(marked: Marked, tmp_path: Path) -> AsyncIterator[Platform]:
    """A platform whose pods have started something, each in its own way."""
    async with Platform(tmp_path / "data") as platform:
        folder = tmp_path / "app"
        tree_app.build(folder)
        await platform.fox("apply", "-f", folder / "environments.yaml")
        await platform.fox("deploy", "tree", "--dirty", "--wait", cwd=folder)
        for kind in tree_app.KINDS:
            assert await ask(platform, f"/{kind}") == 200
        # Four pods; a process in its session, a daemon, and two workers.
        assert len(marked.of_pods()) == 8
        yield platform


async def ask(platform: Platform, path: str) -> int:
    """Return the status of an answer."""
    query = {"kf-dep": "tree", "kf-ve": "here"}
    async with aiohttp.request("GET", platform.http_url + path, params=query) as response:
        return response.status


async def ask_in_vain(platform: Platform, path: str) -> None:
    """Send a request to a platform that is killed before it answers."""
    with contextlib.suppress(aiohttp.ClientError):
        await ask(platform, path)


async def pods(platform: Platform) -> dict[str, int]:
    """Return the process ids of the pods, by component."""
    return {pod["component"]: pod["pid"] for pod in await platform.get("pods")}


async def test_a_stopped_pod_takes_its_tree_along(platform: Platform, marked: Marked) -> None:
    before = marked.of_pods()

    await platform.fox("undeploy", "tree")

    await marked.wait_gone(before)
    assert "did not stop within" not in platform.log.read_text()


async def test_a_pod_that_crashes_leaves_no_process(platform: Platform, marked: Marked) -> None:
    before = marked.of_pods()

    answers = await asyncio.gather(*(ask(platform, f"/{kind}/crash") for kind in tree_app.KINDS))

    assert set(answers) == {502}
    await marked.wait_gone(before)


async def test_a_killed_pod_leaves_no_process(platform: Platform, marked: Marked) -> None:
    before = marked.of_pods()

    for pid in (await pods(platform)).values():
        os.kill(pid, signal.SIGKILL)

    await marked.wait_gone(before)


async def test_a_stopped_platform_leaves_no_process(platform: Platform, marked: Marked) -> None:
    assert await platform.stop(signal.SIGTERM) == 0

    await marked.wait_gone(marked.pids())


async def test_a_killed_platform_leaves_no_process(platform: Platform, marked: Marked) -> None:
    await platform.stop(signal.SIGKILL)

    await marked.wait_gone(marked.pids())


async def test_a_killed_platform_leaves_no_process_of_a_pod_that_is_stuck(
    platform: Platform, marked: Marked
) -> None:
    stuck = await pods(platform)
    async with asyncio.TaskGroup() as group:
        for kind in ("session", "daemon"):
            group.create_task(ask_in_vain(platform, f"/{kind}/hold"))
        os.kill(stuck["pool"], signal.SIGSTOP)
        # Until the handlers are in C code; if they are not yet, the test shows less.
        await asyncio.sleep(0.2)

        await platform.stop(signal.SIGKILL)

    await marked.wait_gone(marked.pids())
