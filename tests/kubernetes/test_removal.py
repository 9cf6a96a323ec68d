"""The commands that the documentation gives for the removal of a platform leave only its data."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.order_app import ENVIRONMENTS
from tests.e2e.documents import page
from tests.kubernetes import chart
from tests.kubernetes.any_cluster import WAIT_S
from tests.kubernetes.chart import RELEASE, Values
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.platform import COMPONENTS
from tests.kubernetes.shop import REPOSITORY, open_shop
from tests.support.nats import NatsServer

pytestmark = pytest.mark.timeout(900)

CUSTOM_RESOURCES: Values = {"customResources": {"enabled": True}}
RESOURCES = "environments,virtualenvironments,httpadapters,appdeployments,releasemanifests"
OF_COMPONENTS = "deployments,secrets,poddisruptionbudgets"


def commands(namespace: str) -> Iterator[list[str]]:
    """Yield the commands of the page, for another namespace than that of the page."""
    _, _, section = page("operations/kubernetes").partition("\n## Remove\n")
    code = section.partition("```sh\n")[2].partition("```")[0]
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        words[words.index("--namespace") + 1] = namespace
        yield words


def run(lab: LabCluster, folder: Path, words: list[str]) -> None:
    program, *arguments = words
    if program == "helm":
        kubeconfig = str(lab.kubeconfig)
        chart.helm(folder, *arguments, "--kubeconfig", kubeconfig, f"--timeout={2 * WAIT_S:.0f}s")
    else:
        assert program == "kubectl"
        lab.kubectl(*arguments)


async def test_a_platform_with_an_app_and_resources_is_removed(
    lab: LabCluster, namespace: str, own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    nats = own_secured_nats_server
    async with open_shop(lab, namespace, nats, tmp_path, CUSTOM_RESOURCES) as shop:
        kubectl = shop.platform.kubectl
        await kubectl("apply", f"--filename={tmp_path / REPOSITORY / ENVIRONMENTS}")
        ready = ("--for=condition=Ready", f"--timeout={WAIT_S}s")
        await kubectl("wait", "virtualenvironments", "--all", *ready)
        resources = await kubectl("get", RESOURCES, "--output=name")
        of_components = await kubectl("get", OF_COMPONENTS, "-l", COMPONENTS, "--output=name")

        for words in commands(namespace):
            await asyncio.to_thread(run, lab, tmp_path / "helm", words)

        await asyncio.to_thread(lab.wait, lambda: not lab.get(namespace, "pods"))
        left = {
            "resources": await kubectl("get", RESOURCES, "--output=name"),
            "objects of components": await kubectl(
                "get", OF_COMPONENTS, "-l", COMPONENTS, "--output=name"
            ),
            "objects of the chart": await kubectl(
                "get", "all", "-l", f"app.kubernetes.io/instance={RELEASE}", "--output=name"
            ),
        }
        kept = await kubectl("get", "secrets", "--output=name")

    for kind in ("environment", "virtualenvironment", "appdeployment"):
        assert f"{kind}.kubefox.xigxog.io/" in resources
    for kind in ("deployment.apps/", "secret/", "poddisruptionbudget.policy/"):
        assert kind in of_components
    assert left == dict.fromkeys(left, "")
    assert {"secret/kubefox-keys", "secret/kubefox-nats"} <= set(kept.split())
