"""Each pod of a platform that root runs has a user of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from broker.runtime.allowed_namespaces import allowed
from examples.demo.platform import Platform, wait_for
from tests.pods.processes import is_gone
from tests.security import spy_app
from tests.security.users import needs_root

pytestmark = [
    needs_root,
    pytest.mark.skipif(not allowed().hides_folders, reason="this system allows no mount namespace"),
]

FIRST, LAST = 61_184, 61_185
PROCESSES = 100
"""Declared by the component, below the platform's limit."""
SOON_S = 120


@pytest.fixture
async def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    app = tmp_path / "app"
    declared = f'title="Spy", processes={PROCESSES}'
    spy_app.build(app, spy_app.MAIN.replace('title="Spy"', declared))
    monkeypatch.setenv("FOX_POD_UIDS", f"{FIRST}-{LAST}")
    monkeypatch.setenv("FOX_POD_MIN_REPLICAS", "2")
    monkeypatch.setenv("FOX_POD_MAX_REPLICAS", "2")
    async with Platform(tmp_path / "data") as platform:
        await platform.fox("apply", "-f", app / "environments.yaml")
        await platform.fox("deploy", "v1", "--dirty", "--wait", cwd=app)

        async def are_ready() -> bool:
            return [pod["phase"] for pod in await platform.pods()] == ["ready", "ready"]

        await wait_for(are_ready, SOON_S)
        yield platform


async def facts(platform: Platform) -> dict[str, Any]:
    """Return what a component sees."""
    params = {"kf-dep": "v1", "kf-ve": "here"}
    async with aiohttp.request("GET", f"{platform.http_url}/facts", params=params) as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json()
        return found


def uids(pid: int) -> set[int]:
    """Return the ids of a process's user, as the kernel reports them."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("Uid:"))
    return {int(uid) for uid in line.split()[1:]}


async def test_each_pod_has_a_user_and_ends_as_usual(platform: Platform) -> None:
    pods = [pod["pid"] for pod in await platform.pods()]
    seen = await facts(platform)

    assert [await asyncio.to_thread(uids, pid) for pid in sorted(pods)] in (
        [{FIRST}, {LAST}],
        [{LAST}, {FIRST}],
    )
    assert seen["uid"] in {FIRST, LAST}
    assert seen["folder_mode"] == 0o700
    assert seen["no_new_privs"]
    assert seen["processes"] == [PROCESSES, PROCESSES]

    await platform.fox("undeploy", "v1")

    async def are_gone() -> bool:
        return all(map(is_gone, pods)) and not any((platform.data_dir / "work").iterdir())

    await wait_for(are_gone, SOON_S)


async def test_a_killed_platform_leaves_no_pod_of_another_user(platform: Platform) -> None:
    pods = [pod["pid"] for pod in await platform.pods()]

    await platform.stop(signal.SIGKILL)

    async def are_gone() -> bool:
        return all(map(is_gone, pods))

    await wait_for(are_gone, SOON_S)
