"""The story of the Order App on a platform in a cluster, which the chart has installed."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rich.console import Console

from examples.demo import story
from examples.demo.context import DemoContext
from examples.demo.narrator import Narrator
from examples.demo.page import Browser
from examples.order_app import ENVIRONMENTS, build
from tests.kubernetes.any_cluster import WAIT_S
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.platform import ClusterPlatform, is_ready, open_platform
from tests.support.nats import NatsServer

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
async def platform(
    lab: LabCluster, namespace: str, own_secured_nats_server: NatsServer, tmp_path: Path
) -> AsyncIterator[ClusterPlatform]:
    async with open_platform(lab, namespace, own_secured_nats_server, tmp_path, {}) as platform:
        yield platform


async def test_the_order_app_is_deployed_released_and_served(
    platform: ClusterPlatform, tmp_path: Path
) -> None:
    repository = tmp_path / "order-app"
    build(repository)
    told = io.StringIO()
    async with Browser(platform.http_url) as browser:
        demo = DemoContext(
            narrator=Narrator(Console(file=told)),
            platform=platform,
            browser=browser,
            repository=repository,
        )
        await demo.fox("apply", "-f", ENVIRONMENTS)
        for version, expected in story.PODS_AFTER.items():
            await demo.deploy(version)
            await wait_replicas(platform, expected)
            pods = await platform.objects("pods")
            assert len(pods) == expected
            assert all(map(is_ready, pods))

        for chapter in (
            story.deploy_again,
            story.select_versions,
            story.release,
            story.switch_under_load,
            story.separate_teams,
            story.refuse_undeclared_call,
        ):
            await chapter(demo)

        assert len(await platform.objects("deployments")) == story.PODS_AFTER["v3"]
        await read_output(platform)
        await kill_a_pod(platform, browser)


async def wait_replicas(platform: ClusterPlatform, expected: int) -> None:
    """Return when each of the expected Deployments has one ready pod.

    Kubernetes counts the ready pods of a Deployment later than the platform sees them.
    """
    while True:
        deployments = await platform.objects("deployments")
        assert len(deployments) == expected
        if {each["status"].get("readyReplicas") for each in deployments} == {1}:
            return
        await asyncio.sleep(0.2)


async def read_output(platform: ClusterPlatform) -> None:
    """Read the output of pods, by component and by deployment, and where they run."""
    every = await platform.fox("logs", "api-server", "-o", "json")
    of_one = await platform.fox("logs", "api-server", "--deployment", "order-app-v1", "-o", "json")
    pods = await platform.get("pods")

    lines = [json.loads(line) for line in every.splitlines()]
    placed = [json.loads(line) for line in of_one.splitlines()]
    served = {pod["id"] for pod in pods if pod["component"] == "api-server"}
    assert {line["pod"] for line in lines} == served
    assert not any(line["is_ended"] for line in lines)
    assert {line["fields"]["message"] for line in placed} >= {"placed"}
    assert {line["fields"]["deployment"] for line in placed} == {"order-app-v1"}
    assert {pod["node"] for pod in pods} == {"node-a", "node-b"}
    in_cluster = await platform.objects("pods")
    assert {pod["name"]: pod["node"] for pod in pods} == {
        pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in in_cluster
    }


async def kill_a_pod(platform: ClusterPlatform, browser: Browser) -> None:
    """Kill the pod of a component: requests meanwhile wait or fail, and then are served again."""
    digest = (await platform.versions())["order-app-v1"]["api-server"]
    (pod,) = [
        pod
        for pod in await platform.objects("pods", "kubefox.io/component=api-server")
        if pod["metadata"]["labels"]["kubefox.io/hash"].startswith(digest)
    ]
    name = pod["metadata"]["name"]
    await platform.kubectl("delete", "pod", name, "--grace-period=0", "--force")

    statuses: Counter[int] = Counter()
    while not statuses[200]:
        statuses[(await browser.get("team-a")).status] += 1

    assert set(statuses) <= {200, 502, 503}
    assert name not in {pod["metadata"]["name"] for pod in await platform.objects("pods")}


async def test_a_quota_that_holds_a_deployment_up_is_told(
    platform: ClusterPlatform, tmp_path: Path
) -> None:
    repository = tmp_path / "order-app"
    build(repository)
    await platform.fox("apply", "-f", ENVIRONMENTS, cwd=repository)
    parts = len(platform.cluster.pods(platform.namespace))
    await platform.kubectl("create", "quota", "few", f"--hard=pods={parts}")
    quota = "--for=jsonpath={.status.hard}"
    await platform.kubectl("wait", "quota/few", quota, f"--timeout={WAIT_S}s")

    deploy = ("deploy", "v1", "--ref", "v1", "--version", "v1")
    await platform.fox(*deploy, "--no-wait", cwd=repository)
    pods = await platform.get("pods")
    while not pods or not all(pod["message"] for pod in pods):
        await asyncio.sleep(0.5)
        pods = await platform.get("pods")
    waited = await platform.run(*deploy, "--wait", "--timeout", "5", cwd=repository)
    listed = await platform.fox("get", "pods", "-o", "wide")
    status = await platform.run("status")
    await platform.kubectl("delete", "quota", "few")
    while {pod["phase"] for pod in await platform.get("pods")} != {"ready"}:
        await asyncio.sleep(0.5)

    assert waited.code
    assert {pod["phase"] for pod in pods} == {"starting"}
    for text in (waited.err, listed, status.out, *(pod["message"] for pod in pods)):
        assert "cannot be created: " in text
    assert "exceeded quota: few" in pods[0]["message"]


async def test_control_of_the_chart_applies_custom_resources(
    lab: LabCluster, namespace: str, own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    values = {"customResources": {"enabled": True}}
    environment = {
        "apiVersion": "kubefox.xigxog.io/v1alpha1",
        "kind": "Environment",
        "metadata": {"name": "staging"},
        "data": {"vars": {"currency": "EUR"}},
    }
    async with open_platform(lab, namespace, own_secured_nats_server, tmp_path, values) as platform:
        await asyncio.to_thread(lab.apply, namespace, environment)
        await platform.kubectl(
            "wait", "environments/staging", "--for=condition=Ready", f"--timeout={WAIT_S}s"
        )

        (found,) = await platform.get("environments")

        # Without control, its finalizer would stay.
        await platform.kubectl("delete", "environment", "staging")

    assert found["name"] == "staging"
    assert found["data"]["vars"] == {"currency": "EUR"}
