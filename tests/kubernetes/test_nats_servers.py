"""The NATS servers of the chart as pods: a cluster with volumes, replaced one after another."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fox.cli.conftest import FOX
from tests.kubernetes.any_cluster import WAIT_S
from tests.kubernetes.chart import Values
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.platform import is_ready
from tests.kubernetes.shop import open_shop

pytestmark = pytest.mark.timeout(900)

SERVERS = 3


@pytest.fixture
def volumes(lab: LabCluster, namespace: str, tmp_path: Path) -> Iterator[None]:
    """A volume for each server, as a folder."""
    names = [f"{namespace}-{number}" for number in range(SERVERS)]
    for name in names:
        (tmp_path / name).mkdir()
    lab.apply(namespace, *(volume(name, tmp_path / name) for name in names))
    yield
    lab.kubectl("delete", "persistentvolumes", *names, "--wait=false")


def volume(name: str, folder: Path) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "10Gi"},
            "hostPath": {"path": str(folder)},
        },
    }


def make_configurations(namespace: str, folder: Path) -> None:
    """Make the keys and the configurations, as the page about Kubernetes does."""
    domain = f"kubefox-nats.{namespace}.svc.cluster.local"
    listen = [
        option
        for number in range(SERVERS)
        for option in ("--listen", f"kubefox-nats-{number}.{domain}:4222")
    ]
    command: list[str | Path] = [*FOX, "init-nats", folder, "--store-dir", "/var/lib/nats", *listen]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.usefixtures("volumes")
async def test_servers_are_replaced_one_after_another_and_no_request_fails(
    lab: LabCluster, namespace: str, tmp_path: Path
) -> None:
    keys = tmp_path / "nats"
    await asyncio.to_thread(make_configurations, namespace, keys)
    async with open_shop(lab, namespace, keys, tmp_path) as shop:
        platform = shop.platform
        before = await platform.pods_of("nats")
        changed: Values = {"nats": {"server": {"resources": {"requests": {"cpu": "100m"}}}}}

        async with shop.no_request_fails():
            await platform.install(changed)
            await platform.kubectl(
                *("rollout", "status", "statefulset/kubefox-nats", f"--timeout={2 * WAIT_S}s")
            )
        after = await platform.pods_of("nats")
        status = await platform.fox("status", "--output", "json")

    assert len(before) == len(after) == SERVERS
    assert all(map(is_ready, after))
    assert addresses(before) == addresses(after)
    assert not uids(before) & uids(after)
    assert json.loads(status)["state"] == "ok"


def addresses(pods: list[dict[str, Any]]) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in pods}


def uids(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}
