"""A whole platform beside a cluster: `fox up` applies the resources of its namespace."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from examples.demo.platform import Platform
from pods.kubernetes.cluster import Cluster
from tests.kubernetes.resources import Resources, environment, virtual_environment


def kubeconfig(login: Cluster, folder: Path) -> Path:
    """Write a kubeconfig for a login, and return its path."""
    authority = folder / "ca.crt"
    authority.write_text(login.ca_pem)
    cluster = {"server": login.server, "certificate-authority": str(authority)}
    context = {"cluster": "lab", "user": "control", "namespace": login.namespace}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "control", "user": {"token": login.token}}],
        "contexts": [{"name": "lab", "context": context}],
        "current-context": "lab",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


async def test_a_platform_applies_resources_and_tells_of_them(
    resources: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = await asyncio.to_thread(kubeconfig, resources.login, tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(config))
    monkeypatch.setenv("FOX_CUSTOM_RESOURCES", "true")

    async with Platform(tmp_path / "data") as platform:
        await resources.apply(environment(), virtual_environment("lab-team"))
        await resources.wait_condition("ve", "lab-team", "Ready", "Applied")
        environments = await platform.fox("get", "virtual-environments")
        status = await platform.fox("status")
        audit = await platform.fox("get", "audit-records", "-o", "json")

        await platform.stop()
        # A platform that starts again goes on with what it has.
        await platform.start()
        await resources.kubectl("delete", "ve", "lab-team")
        left = await platform.fox("get", "virtual-environments")

    assert "lab-team" in environments
    assert "2 applied from the cluster, 0 shown there" in status
    assert f'"namespace {resources.namespace}"' in audit
    assert "lab-team" not in left
