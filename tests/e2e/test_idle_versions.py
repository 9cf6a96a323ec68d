"""A whole platform that stops idle versions."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from examples.demo.page import Browser
from examples.demo.platform import Platform, wait_for
from examples.order_app import ENVIRONMENTS, build
from tests.support import emitting

SOON_S = 120


@pytest.fixture
async def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    monkeypatch.setenv("FOX_POD_IDLE_S", "1")
    async with Platform(tmp_path / "data") as platform:
        yield platform


async def wait_idle(platform: Platform, count: int) -> None:
    """Wait until ``count`` component versions are idle and no pod is left."""

    async def reached() -> bool:
        return not await platform.pods() and len(await platform.get("idle-versions")) == count

    await wait_for(reached, SOON_S)


async def wait_counted(platform: Platform, name: str, least: int) -> None:
    """Wait until a counter of the platform is ``least`` or more.

    The figures of a process that answers too late are missing.
    """

    async def reached() -> bool:
        url = f"{platform.control_url}/metrics"
        async with aiohttp.request("GET", url, headers=platform.credentials) as response:
            metrics = await response.text()
        found = re.search(rf'^{name}{{service="kubefox"}} (\d+)$', metrics, re.MULTILINE)
        return found is not None and int(found[1]) >= least

    await wait_for(reached, SOON_S)


async def test_an_idle_deployment_can_be_shown_redeployed_released_and_requested(
    platform: Platform, tmp_path: Path
) -> None:
    app = tmp_path / "order-app"
    build(app)
    await platform.fox("apply", "-f", ENVIRONMENTS, cwd=app)
    await platform.fox("deploy", "v1", "--ref", "v1", "--version", "v1", "--wait", cwd=app)
    await wait_idle(platform, 3)

    listed = await platform.fox("get", "pods")
    described = await platform.fox("describe", "deployment", "v1")
    copied = await platform.fox("deploy", "copy", "--ref", "v1", "--wait", cwd=app)
    await platform.fox("release", "v1", "--virtual-env", "team-a", "--wait")
    async with Browser(platform.http_url) as browser:
        page = await browser.place_order("team-a", "Ada")

    for shown in (listed, described):
        assert "IDLE" in shown
        assert "order-worker" in shown
    assert "deployment copy is ready: 0 pods, 3 components idle until the next event" in copied
    assert (page.status, page.deployment) == (200, "v1")
    # Lower bounds: on a slow machine, versions may have been stopped again.
    await wait_counted(platform, "kubefox_pod_sleeps_total", 3)
    await wait_counted(platform, "kubefox_pod_wakes_total", 1)


async def test_an_emitted_event_activates_its_component(platform: Platform, tmp_path: Path) -> None:
    emitting.build(tmp_path / "app", "jobs")
    await platform.fox("apply", "-f", tmp_path / "app" / "environments.yaml")
    await platform.fox("deploy", "jobs-v1", "--dirty", "--wait", cwd=tmp_path / "app")
    await wait_idle(platform, 2)

    query = {"kf-dep": "jobs-v1", "kf-ve": "jobs", "signals": str(tmp_path)}
    async with aiohttp.request("GET", f"{platform.http_url}/jobs/quick", params=query) as answer:
        assert await answer.text() == "stored"

    async def is_done() -> bool:
        return bool(emitting.done(tmp_path, "quick"))

    await wait_for(is_done, SOON_S)
    assert emitting.done(tmp_path, "quick") == ["1"]
