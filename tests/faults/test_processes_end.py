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
import pytest_asyncio

from examples.demo.platform import Platform, wait_for
from tests.faults import tree_app
from tests.faults.new_version import change_hashes

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

MARK = "KUBEFOX_TEST_MARK"
SOON_S = 60
# A slow machine takes longer than the default until crashed pods are ready again.
HOLD_S = "25"


class Marked:
    """The processes whose environment contains a mark, as the kernel keeps it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        value = str(uuid.uuid4())
        patch.setenv(MARK, value)
        patch.setenv("FOX_POD_ENV", MARK)
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


class Tree:
    """A platform whose pods have started something, each in its own way.

    Attributes:
        platform: The platform.
        marked: Its processes.
    """

    def __init__(self, platform: Platform, marked: Marked) -> None:
        self.platform = platform
        self.marked = marked

    async def begin(self) -> None:
        """Deploy the app as a new version, and let its pods start something."""
        app = self.platform.data_dir.with_name("app")
        change_hashes(app)
        await self.platform.fox("deploy", "tree", "--dirty", "--wait", cwd=app)
        await wait_for(self._has_new_pods_only, SOON_S)
        for kind in tree_app.KINDS:
            assert await ask(self.platform, f"/{kind}") == 200
        # Four pods; a process in its session, a daemon, and two workers.
        assert len(self.marked.of_pods()) == 8

    async def _has_new_pods_only(self) -> bool:
        return len(self.marked.of_pods()) == len(await pods(self.platform)) == len(tree_app.KINDS)


@contextlib.asynccontextmanager
async def open_tree(folder: Path) -> AsyncIterator[Tree]:
    """Run a platform, on which nothing is deployed yet."""
    tree_app.build(folder / "app")
    with pytest.MonkeyPatch.context() as patch:
        marked = Marked(patch)
        patch.setenv("FOX_HOLD_S", HOLD_S)
        async with Platform(folder / "data") as platform:
            await platform.fox("apply", "-f", folder / "app" / "environments.yaml")
            yield Tree(platform, marked)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tree]:
    async with open_tree(tmp_path_factory.mktemp("shared")) as tree:
        yield tree


@pytest_asyncio.fixture(loop_scope="module")
async def tree(shared: Tree) -> Tree:
    """A platform that the test does not end."""
    await shared.begin()
    return shared


@pytest_asyncio.fixture(loop_scope="module")
async def own_tree(tmp_path: Path) -> AsyncIterator[Tree]:
    """A platform that the test ends."""
    async with open_tree(tmp_path) as tree:
        await tree.begin()
        yield tree


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


async def test_a_stopped_pod_takes_its_tree_along(tree: Tree) -> None:
    before = tree.marked.of_pods()

    await tree.platform.fox("undeploy", "tree")

    await tree.marked.wait_gone(before)
    assert "did not stop within" not in tree.platform.log.read_text()


async def test_a_pod_that_crashes_leaves_no_process(tree: Tree) -> None:
    before = tree.marked.of_pods()

    crashes = (ask(tree.platform, f"/{kind}/crash") for kind in tree_app.KINDS)
    answers = await asyncio.gather(*crashes)

    assert set(answers) == {502}
    await tree.marked.wait_gone(before)


async def test_a_killed_pod_leaves_no_process(tree: Tree) -> None:
    before = tree.marked.of_pods()

    for pid in (await pods(tree.platform)).values():
        os.kill(pid, signal.SIGKILL)

    await tree.marked.wait_gone(before)


async def test_a_stopped_platform_leaves_no_process(own_tree: Tree) -> None:
    assert await own_tree.platform.stop(signal.SIGTERM) == 0

    await own_tree.marked.wait_gone(own_tree.marked.pids())


async def test_a_killed_platform_leaves_no_process(own_tree: Tree) -> None:
    await own_tree.platform.stop(signal.SIGKILL)

    await own_tree.marked.wait_gone(own_tree.marked.pids())


async def test_a_killed_platform_leaves_no_process_of_a_pod_that_is_stuck(own_tree: Tree) -> None:
    platform, stuck = own_tree.platform, await pods(own_tree.platform)
    async with asyncio.TaskGroup() as group:
        for kind in ("session", "daemon"):
            group.create_task(ask_in_vain(platform, f"/{kind}/hold"))
        os.kill(stuck["pool"], signal.SIGSTOP)
        # Until the handlers are in C code; if they are not yet, the test shows less.
        await asyncio.sleep(0.2)

        await platform.stop(signal.SIGKILL)

    await own_tree.marked.wait_gone(own_tree.marked.pids())
