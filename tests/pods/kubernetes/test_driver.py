"""A driver that takes over the Deployments of an earlier process, on a scripted API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from broker.nats import bus as buses
from broker.nats.access import Access
from broker.nats.credentials.account_key import AccountKey
from broker.nats.credentials.nkeys import KeyKind, KeyPair
from broker.runtime.background import run_in_background
from kubefox.errors import InternalError
from pods.base import PodSpec
from pods.kubernetes import driver as driver_module
from pods.kubernetes.cluster import Cluster
from pods.kubernetes.driver import KubernetesDriver
from pods.kubernetes.left_deployments import annotated
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

    def __init__(
        self, script: ScriptedApi, spec: PodSpec, driver: KubernetesDriver, logins: PodLogins
    ) -> None:
        self.script = script
        self.logins = logins
        self.spec = spec
        self.driver = driver
        # Not written by a driver of this version.
        self.use(deployment(spec, 8, SETTINGS))

    def use(self, found: dict[str, Any]) -> None:
        """Let this be the Deployment of the earlier process."""
        script = self.script
        self.name = found["metadata"]["name"]
        self.path = f"{DEPLOYMENTS}/{self.name}"
        script.watches = [[]]
        script.collections = {DEPLOYMENTS: [found], PODS: []}
        script.objects[self.path] = {"metadata": {"generation": 1}, "spec": {"replicas": 8}}

    def use_written(self, replicas: int, **changes: object) -> None:
        """Let the Deployment be one that a driver has written, with changes by others."""
        written = deployment(self.spec, replicas, SETTINGS)
        found = annotated(written, self.logins.issuer, "salt-of-before")
        found["spec"] |= changes
        self.use(found)

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
        account = KeyPair.generate(KeyKind.ACCOUNT)
        key = AccountKey(account.public, account)
        logins = PodLogins(Access(nats_server.url, key))
        driver = KubernetesDriver(
            find_cluster=lambda: Cluster(server=script.url, namespace="shop"),
            bus=bus,
            data_dir=tmp_path,
            logins=logins,
            fetch=bundles.get,
            logs=PodLogs(LogFiles(tmp_path / "logs")),
            settings=SETTINGS,
        )
        yield TakeOver(script, spec, driver, logins)


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


async def test_nothing_is_written_for_a_deployment_that_is_up_to_date(take_over: TakeOver) -> None:
    take_over.use_written(2)

    async with take_over.driver as driver, contextlib.AsyncExitStack() as stack:
        await driver.left_pods()
        for _ in range(2):
            await stack.enter_async_context(driver.run(take_over.spec))
        written = list(take_over.script.writes)
        driver.detach()

    assert not written
    assert take_over.logins.salt(take_over.spec.version) == "salt-of-before"


async def test_a_deployment_that_is_up_to_date_gets_further_pods(take_over: TakeOver) -> None:
    take_over.use_written(1)

    async with take_over.driver as driver, contextlib.AsyncExitStack() as stack:
        await driver.left_pods()
        for _ in range(2):
            await stack.enter_async_context(driver.run(take_over.spec))
        written = [path.partition("/")[0] for path in take_over.script.writes]
        driver.detach()

    assert written == ["poddisruptionbudgets", "deployments"]
    assert take_over.replicas == 2


async def test_a_deployment_that_others_have_changed_is_written_when_it_is_taken_over(
    take_over: TakeOver,
) -> None:
    take_over.use_written(1, strategy={"type": "Recreate"})

    async with take_over.driver as driver:
        await driver.left_pods()
        async with driver.run(take_over.spec):
            written = [path.partition("/")[0] for path in take_over.script.writes]
            driver.detach()

    assert written == ["secrets", "deployments"]


async def test_the_credentials_of_an_earlier_process_are_revoked_with_those_of_this_one(
    take_over: TakeOver,
) -> None:
    take_over.use_written(0)
    before = take_over.logins
    before.use_salt(take_over.spec.version, "salt-of-before")
    login = before.log_in(take_over.spec).credentials
    assert login is not None
    before.use_salt(take_over.spec.version, "another")
    revoked: list[str] = []

    async def revoke(users: Collection[str]) -> None:
        revoked.extend(users)

    async with take_over.driver as driver:
        await driver.left_pods()
        driver.retire(take_over.spec.version)
        async with run_in_background(before.revoke_retired(revoke, wait_s=0), "revoking"):
            while not revoked:
                await asyncio.sleep(0.001)
        driver.detach()

    assert revoked == [KeyPair.from_seed(login.seed, KeyKind.USER).public]


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
        while 0 not in take_over.script.grace_s:
            await asyncio.sleep(0.001)
        driver.detach()

    # The node may count as lost before the first deletion is sent.
    assert take_over.script.grace_s in ([1, 0], [0])
