"""The number of pods in a cluster: none while a version is idle, more under load."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.kubernetes.chart import Values
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.platform import ClusterPlatform, open_platform
from tests.support.nats import NatsServer
from tests.support.repository import Repository, app_files

pytestmark = pytest.mark.timeout(900)

# Requests wait for a pod as long as the start of one takes here.
VALUES: Values = {"settings": {"FOX_POD_IDLE_S": 5, "FOX_HOLD_S": 300, "FOX_EVENT_TTL_S": 300}}
REQUESTS = 6
# The handler answers when a file exists.
MAIN = """import asyncio
from pathlib import Path

from fox import Context, Kit

kit = Kit(title="Slow")


@kit.route("Path(`/slow`)")
async def wait(ctx: Context) -> str:
    while not await asyncio.to_thread(Path({file!r}).exists):
        await asyncio.sleep(0.1)
    return "done"
"""
ENVIRONMENTS = """
apiVersion: kubefox.xigxog.io/v1alpha1
kind: Environment
metadata: {name: dev}
---
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: {name: team}
spec: {environment: dev}
"""


async def wait_pods(platform: ClusterPlatform, count: int) -> None:
    """Return when the only version has so many pods, all of them ready, and no others."""
    while True:
        (found,) = await platform.objects("deployments")
        status = found["status"]
        ready = (status.get("replicas", 0), status.get("readyReplicas", 0))
        if (found["spec"]["replicas"], *ready) == (count,) * 3:
            return
        await asyncio.sleep(0.5)


async def test_pods_follow_the_load_and_an_idle_version_has_none(
    lab: LabCluster, namespace: str, own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    may_end = tmp_path / "may-end"
    app = Repository(tmp_path / "app")
    app.write(
        {**app_files("shop", "slow"), "components/slow/main.py": MAIN.format(file=str(may_end))}
    )
    app.commit()
    (tmp_path / "environments.yaml").write_text(ENVIRONMENTS)

    async def answer() -> tuple[int, str]:
        url = f"{platform.http_url}/slow?kf-dep=first&kf-ve=team"
        async with session.get(url) as response:
            return response.status, await response.text()

    async with (
        open_platform(lab, namespace, own_secured_nats_server, tmp_path, VALUES) as platform,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout()) as session,
    ):
        await platform.fox("apply", "-f", tmp_path / "environments.yaml")
        await platform.fox("deploy", "first", "--app", app.folder, "--wait")
        await wait_pods(platform, 0)
        idle = await platform.fox("get", "idle")
        await platform.fox("scale", "slow", "--max", "3", "--target", "2")

        answers = [asyncio.create_task(answer()) for _ in range(REQUESTS)]
        await wait_pods(platform, 3)
        await asyncio.to_thread(may_end.touch)
        answered = await asyncio.gather(*answers)
        await wait_pods(platform, 0)

        await platform.fox("scale", "slow", "--min", "2")
        await wait_pods(platform, 2)

    assert "slow" in idle
    assert answered == [(200, "done")] * REQUESTS
