"""A real API server that refuses all calls of an account: they wait, and are made when they may."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from kubefox.custom_resources import ENVIRONMENT
from pods.base import PodDriver
from pods.kubernetes.cluster import Cluster
from tests.kubernetes.account import ACCOUNT
from tests.kubernetes.any_cluster import WAIT_S, AnyCluster
from tests.kubernetes.lab_driver import LabDriver
from tests.kubernetes.resources import Applying, Resources, environment
from tests.pods import programs
from tests.pods.driver_contract import Bundles
from tests.support.control_plane import Plane

_API = "flowcontrol.apiserver.k8s.io/v1"
_POLL_S = 0.05


class TestThrottledDriver(LabDriver):
    @pytest.fixture
    def bundles(self) -> Bundles:
        return Bundles()

    @pytest.fixture
    async def driver(self, bundles: Bundles) -> AsyncIterator[PodDriver]:
        async with self.open_driver(bundles) as driver:
            yield driver

    async def test_a_pod_starts_when_the_api_takes_calls_again(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        async with driver.run(bundles.add(programs.GOOD)) as first:
            assert await first.wait_ready()
        deployments = f"/apis/apps/v1/namespaces/{self.namespace}/deployments"
        async with refusing(self.cluster, self.login, f"{deployments}/any"):
            starting = asyncio.create_task(ready(driver, bundles))
            await wait_refused(self.cluster, self.namespace)
            is_waiting = not starting.done()

        assert is_waiting
        assert await starting

    async def test_many_versions_start_while_the_api_takes_one_call_at_a_time(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        async with limiting(self.cluster, self.login, shares=0):
            sources = [f"{programs.GOOD}# {number}" for number in range(12)]
            started = [ready(driver, bundles, source) for source in sources]

            assert all(await asyncio.gather(*started))


# It limits calls for the whole cluster, and reads the figures of the one API server.
@pytest.mark.usefixtures("lab")
async def test_a_resource_is_applied_when_the_api_takes_calls_again(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await resources.apply(environment("first"))
    await resources.wait_condition("environment", "first", "Synced", "Applied")
    path = f"{ENVIRONMENT.path(resources.namespace)}/first"
    async with refusing(resources.cluster, resources.login, path):
        await resources.apply(environment("second"))
        # The watch goes on: the platform learns of it, and cannot write its finalizer and status.
        await wait_refused(resources.cluster, resources.namespace)
        waiting = await resources.get("environment", "second")

    await resources.wait_condition("environment", "second", "Synced", "Applied")
    assert waiting is not None
    assert "conditions" not in waiting.get("status", {})


async def ready(driver: PodDriver, bundles: Bundles, source: str = programs.GOOD) -> bool:
    """Run a pod until it is ready, or has ended."""
    async with driver.run(bundles.add(source)) as pod:
        return await pod.wait_ready()


@contextlib.asynccontextmanager
async def limiting(cluster: AnyCluster, login: Cluster, *, shares: int) -> AsyncIterator[None]:
    """Limit the calls of an account by the server's own priority and fairness.

    Args:
        cluster: The cluster.
        login: Of the account.
        shares: Its share of the calls that are made at a time; 0 for one call.
    """
    name = f"busy-{login.namespace}"
    await asyncio.to_thread(cluster.apply, login.namespace, *_levels(name, login, shares))
    try:
        yield
    finally:
        kinds = f"flowschema/{name}", f"prioritylevelconfiguration/{name}"
        await asyncio.to_thread(cluster.kubectl, "delete", *kinds)


@contextlib.asynccontextmanager
async def refusing(cluster: AnyCluster, login: Cluster, slow: str) -> AsyncIterator[None]:
    """Let the API server refuse all calls of an account, beside a patch that never ends.

    Args:
        cluster: The cluster.
        login: Of the account.
        slow: Path of an object that the account may patch; it need not exist.
    """
    async with limiting(cluster, login, shares=0), contextlib.AsyncExitStack() as stack:
        async with asyncio.timeout(WAIT_S):
            while not await _is_refused(login):
                await stack.enter_async_context(_endless_patch(login, slow))
                await asyncio.sleep(_POLL_S)
        yield


@contextlib.asynccontextmanager
async def _endless_patch(login: Cluster, path: str) -> AsyncIterator[None]:
    url, context = urlsplit(login.server), await asyncio.to_thread(login.tls)
    _, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
    head = (
        f"PATCH {path} HTTP/1.1",
        f"Host: {url.netloc}",
        f"Authorization: Bearer {login.token}",
        "Content-Type: application/merge-patch+json",
        "Content-Length: 1000",
    )
    writer.write("\r\n".join((*head, "", "{")).encode())
    await writer.drain()
    try:
        yield
    finally:
        writer.transport.abort()


def _levels(name: str, login: Cluster, shares: int) -> list[dict[str, Any]]:
    limited = {
        "nominalConcurrencyShares": shares,
        "lendablePercent": 0,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"},
    }
    account = {"name": ACCOUNT, "namespace": login.namespace}
    subject = {"kind": "ServiceAccount", "serviceAccount": account}
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    rule = {"subjects": [subject], "resourceRules": [everything]}
    schema = {"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 2}
    return [
        _object("PriorityLevelConfiguration", name, {"type": "Limited", "limited": limited}),
        _object("FlowSchema", name, {**schema, "rules": [rule]}),
    ]


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, "spec": spec}


async def _is_refused(login: Cluster) -> bool:
    """Return whether the API has too many calls of the account to take another one."""
    url = f"{login.server}/api/v1/namespaces/{login.namespace}/pods"
    headers = {"Authorization": f"Bearer {login.token}"}
    connector = aiohttp.TCPConnector(ssl=await asyncio.to_thread(login.tls))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url, headers=headers) as answer,
    ):
        is_refused = answer.status == HTTPStatus.TOO_MANY_REQUESTS
        assert not is_refused or answer.headers["Retry-After"]
        return is_refused


async def wait_refused(cluster: AnyCluster, namespace: str) -> None:
    """Return when the API server has refused further calls, besides those that looked for that."""

    def count() -> int:
        name = f'flow_schema="busy-{namespace}"'
        lines = cluster.kubectl("get", "--raw", "/metrics").splitlines()
        metric = "apiserver_flowcontrol_rejected_requests_total"
        found = [line for line in lines if line.startswith(metric) and name in line]
        return sum(int(float(line.rpartition(" ")[2])) for line in found)

    before = await asyncio.to_thread(count)
    await asyncio.to_thread(cluster.wait, lambda: count() > before)
