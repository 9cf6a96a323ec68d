"""Upgrades, drains and kills under load: no request fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.platform import ClusterPlatform, is_ready
from tests.kubernetes.shop import PARTS, Shop, open_shop
from tests.support.nats import NatsServer

pytestmark = pytest.mark.timeout(900)

LEADS = "this process runs the pods of"


@pytest.fixture
async def shop(
    lab: LabCluster, namespace: str, own_secured_nats_server: NatsServer, tmp_path: Path
) -> AsyncIterator[Shop]:
    async with open_shop(lab, namespace, own_secured_nats_server, tmp_path) as shop:
        yield shop


def image_of(pod: dict[str, Any]) -> str:
    (container,) = pod["spec"]["containers"]
    return str(container["image"])


async def test_an_upgrade_of_every_part_fails_no_request(
    shop: Shop,
) -> None:
    platform = shop.platform
    before = {part: await platform.pods_of(part) for part in PARTS}

    async with shop.no_request_fails():
        await platform.install({"image": {"tag": "next"}})
        await shop.wait_pods(lambda pods: {image_of(pod) for pod in pods} == {"lab:next"})

    for part in PARTS:
        after = await platform.pods_of(part)
        assert {image_of(pod) for pod in after} == {"lab:next"}
        assert len(after) == len(before[part]) == 2
    assert len(await platform.objects("deployments")) == 3


async def test_a_drained_node_fails_no_request(shop: Shop, lab: LabCluster) -> None:
    node = "node-a"

    try:
        async with shop.no_request_fails():
            await asyncio.to_thread(lab.kubectl, "cordon", node)
            await asyncio.to_thread(
                lab.kubectl,
                *("drain", node, "--delete-emptydir-data", "--ignore-daemonsets", "--force"),
            )
            pods = await shop.wait_pods(lambda _pods: True)
            await shop.wait_parts("node-b")
    finally:
        await asyncio.to_thread(lab.kubectl, "uncordon", node)

    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-b"}


async def test_a_killed_pod_runner_fails_no_request_and_another_one_goes_on(shop: Shop) -> None:
    platform = shop.platform
    pods = {pod["metadata"]["name"]: pod for pod in await platform.pods_of("pods")}
    (leader,) = [name for name, pod in pods.items() if LEADS in platform.log_of(pod)]
    before = {pod["metadata"]["name"] for pod in await platform.objects("pods")}

    async with shop.no_request_fails():
        await platform.kubectl("delete", "pod", leader, "--grace-period=0", "--force")
        while not await other_leaders(platform, leader):
            await asyncio.sleep(0.2)
        # The next one knows all pods, and keeps them.
        while {pod["name"] for pod in await platform.pods()} != before:
            await asyncio.sleep(0.2)

    assert {pod["metadata"]["name"] for pod in await platform.objects("pods")} == before


async def other_leaders(platform: ClusterPlatform, leader: str) -> list[str]:
    """Return the pod runners that lead, besides one that has ended."""
    pods = await platform.pods_of("pods")
    names = {pod["metadata"]["name"]: pod for pod in pods if is_ready(pod)}
    return [name for name in names if name != leader and LEADS in platform.log_of(names[name])]
