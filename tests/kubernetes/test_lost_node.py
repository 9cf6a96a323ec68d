"""A node that is lost with all of its pods: the other one takes its work over."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes import binary
from tests.kubernetes.lab_cluster import LabCluster, open_lab
from tests.kubernetes.shop import TEAM, open_shop
from tests.support.nats import NatsServer

pytestmark = pytest.mark.timeout(900)

LOST, OTHER = "node-a", "node-b"
# Kubernetes moves the pods of a lost node after six minutes by default.
FLAGS = {
    "controller-manager": ["--node-monitor-period=2s", "--node-monitor-grace-period=20s"],
    "apiserver": [
        "--default-not-ready-toleration-seconds=5",
        "--default-unreachable-toleration-seconds=5",
    ],
}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabCluster]:
    """A cluster of its own, which loses a node."""
    with open_lab(binary.path(), tmp_path, (LOST, OTHER), FLAGS) as opened:
        yield opened


@pytest.fixture
def namespace(lab: LabCluster) -> str:
    """A namespace that ends with the cluster: nobody can delete the pods of a lost node."""
    lab.kubectl("create", "namespace", "shop")
    lab.wait(lambda: lab.exists("shop", "serviceaccount", "default"))
    return "shop"


async def test_the_pods_of_a_lost_node_run_on_another_one(
    lab: LabCluster, namespace: str, own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    folder = tmp_path / "platform"
    folder.mkdir()
    async with open_shop(lab, namespace, own_secured_nats_server, folder) as shop:
        lab.agents[LOST].send_signal(signal.SIGKILL)

        await shop.wait_pods(lambda pods: {each["spec"]["nodeName"] for each in pods} == {OTHER})
        await shop.wait_parts(OTHER)
        while {(pod["phase"], pod["node"]) for pod in await shop.platform.get("pods")} != {
            ("ready", OTHER)
        }:
            await asyncio.sleep(0.5)
        repository = folder / "order-app"
        async with shop.no_request_fails():
            for command in (
                ("deploy", "order-app-v2", "--ref", "v2", "--version", "v2", "--wait"),
                ("release", "v2", "--virtual-env", TEAM, "--wait"),
            ):
                await shop.platform.fox(*command, cwd=repository)
