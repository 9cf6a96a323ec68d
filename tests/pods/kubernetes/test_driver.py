"""A driver that takes over the Deployments of an earlier process, on a scripted API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.nats import bus as buses
from broker.nats.access import Access
from kubefox.errors import InternalError
from pods.base import PodSpec
from pods.kubernetes import driver as driver_module
from pods.kubernetes.cluster import Cluster
from pods.kubernetes.driver import KubernetesDriver
from pods.kubernetes.manifests import PodSettings, deployment, labels
from pods.log_files import LogFiles
from pods.logins import PodLogins
from pods.logs import PodLogs
from tests.pods.driver_contract import Bundles
from tests.pods.kubernetes.scripted_api import ScriptedApi, scripted_api
from tests.support.nats import NatsServer

DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
PODS = "/api/v1/namespaces/shop/pods"
SETTINGS = PodSettings(image="i")


class TakeOver:
    """A driver whose cluster has a Deployment with 8 pods of an earlier process."""

    def __init__(self, script: ScriptedApi, spec: PodSpec, driver: KubernetesDriver) -> None:
        self.script = script
        self.spec = spec
        self.driver = driver
        found = deployment(spec, 8, SETTINGS)
        self.name = found["metadata"]["name"]
        self.path = f"{DEPLOYMENTS}/{self.name}"
        script.watches = [[]]
        script.collections = {DEPLOYMENTS: [found], PODS: []}
        script.objects[self.path] = {"metadata": {"generation": 1}, "spec": {"replicas": 8}}

    @property
    def replicas(self) -> int:
        """How many pods the Deployment has."""
        count = self.script.objects[self.path]["spec"]["replicas"]
        assert isinstance(count, int)
        return count


@pytest.fixture
async def take_over(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[TakeOver]:
    bundles = Bundles()
    spec = bundles.add("1")
    async with (
        scripted_api() as (script, _api),
        buses.connect(nats_server.url, process_id="pods") as bus,
    ):
        driver = KubernetesDriver(
            find_cluster=lambda: Cluster(server=script.url, namespace="shop"),
            bus=bus,
            data_dir=tmp_path,
            logins=PodLogins(Access(nats_server.url, None)),
            fetch=bundles.get,
            logs=PodLogs(LogFiles(tmp_path / "logs")),
            settings=SETTINGS,
        )
        yield TakeOver(script, spec, driver)


async def test_a_deployment_keeps_the_pods_of_an_earlier_process(take_over: TakeOver) -> None:
    async with take_over.driver as driver:
        left = await driver.left_pods()
        async with driver.run(take_over.spec):
            with_one = take_over.replicas
            async with driver.run(take_over.spec):
                with_two = take_over.replicas
            driver.detach()

    assert left == {take_over.spec.version: 8}
    assert (with_one, with_two, take_over.replicas) == (8, 8, 7)


async def test_a_refused_deployment_keeps_the_pods_of_an_earlier_process(
    take_over: TakeOver,
) -> None:
    async with take_over.driver as driver:
        await driver.left_pods()
        take_over.script.refused = {take_over.name}
        with pytest.raises(InternalError, match="cannot be applied: refused by a policy"):
            async with driver.run(take_over.spec):
                raise AssertionError("it runs")
        take_over.script.refused = set()

    assert take_over.replicas == 8


async def test_nothing_is_written_until_the_pods_of_an_earlier_process_are_known(
    take_over: TakeOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "LIST_S", 0.05)
    take_over.script.refused = {"deployments"}

    async with take_over.driver as driver:
        left = await driver.left_pods()
        with pytest.raises(InternalError, match="cannot be applied: "):
            async with driver.run(take_over.spec):
                raise AssertionError("it runs")

    assert not left
    assert not take_over.script.writes


async def test_a_killed_pod_whose_node_does_not_end_it_is_deleted_without_the_node(
    take_over: TakeOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "NODE_LOST_S", 0.01)
    meta = {"name": "api-1", "uid": "u", "labels": labels(take_over.spec.version)}
    take_over.script.collections[PODS] = [{"metadata": meta}]

    async with take_over.driver as driver, driver.run(take_over.spec) as pod:
        while not pod.name:
            await asyncio.sleep(0.001)
        pod.kill()
        while len(take_over.script.grace_s) < 2:
            await asyncio.sleep(0.001)
        driver.detach()

    assert take_over.script.grace_s == [1, 0]
