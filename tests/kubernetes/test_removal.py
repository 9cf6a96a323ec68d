"""The commands that the documentation gives for the removal of a platform leave only its data."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from examples.order_app import ENVIRONMENTS
from tests.kubernetes.any_cluster import WAIT_S
from tests.kubernetes.chart import RELEASE, Values
from tests.kubernetes.documented import Shell, commands
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.platform import COMPONENTS
from tests.kubernetes.shop import REPOSITORY, open_shop
from tests.support.nats import NatsServer

pytestmark = pytest.mark.timeout(900)

CUSTOM_RESOURCES: Values = {"customResources": {"enabled": True}}
RESOURCES = "environments,virtualenvironments,httpadapters,appdeployments,releasemanifests"
OF_COMPONENTS = "deployments,secrets,poddisruptionbudgets"


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

        (script,) = commands("operations/kubernetes", "## Remove")
        await Shell(lab, namespace, tmp_path / "operator").run(script)

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
