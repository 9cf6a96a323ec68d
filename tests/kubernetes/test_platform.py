"""Whole platforms beside a cluster: processes of their own apply the resources of its namespace."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import msgspec
import pytest

from control.access.audit_log import CHANGES
from examples.demo.platform import Platform
from fox.control_access import AUDIT_FOLDER
from fox.data_dir import KEY_FILE
from kubefox.audit import AuditRecord
from tests.faults.parts import Parts
from tests.kubernetes.account import write_kubeconfig
from tests.kubernetes.resources import Resources, environment, virtual_environment
from tests.support.nats import NatsServer


async def test_a_platform_applies_resources_and_tells_of_them(
    resources: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = await asyncio.to_thread(write_kubeconfig, resources.login, tmp_path)
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


async def test_when_the_control_process_that_applies_resources_is_killed_another_one_goes_on(
    resources: Resources, own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    config = await asyncio.to_thread(write_kubeconfig, resources.login, tmp_path)
    environ = {"KUBECONFIG": str(config), "FOX_CUSTOM_RESOURCES": "true"}
    async with contextlib.AsyncExitStack() as stack:
        parts = Parts(own_secured_nats_server, tmp_path, stack, {"control": environ})
        first = await parts.serve("control")
        await resources.apply(environment())
        await resources.wait_condition("environment", "dev", "Synced", "Applied")
        environ["FOX_KEY_FILE"] = str(tmp_path / "control" / KEY_FILE)
        await parts.serve("control", "control-2")

        await resources.apply(environment(data={"vars": {"a": 1}}))
        await resources.wait_condition("environment", "dev", "Synced", "Applied")
        await first.end(signal.SIGKILL)
        await resources.apply(environment(data={"vars": {"a": 2}}))
        await resources.wait_condition("environment", "dev", "Synced", "Applied")

    assert generations(tmp_path / "control") == ["1", "2"]
    assert generations(tmp_path / "control-2") == ["3"]
    for log in tmp_path.glob("*.log"):
        assert "forbidden message" not in log.read_text(), log.name


def generations(data_dir: Path) -> list[str]:
    """Return the generation of each applied resource in the audit log of a control process."""
    lines = (data_dir / AUDIT_FOLDER / CHANGES).read_bytes().splitlines()
    records = [msgspec.json.decode(line, type=AuditRecord) for line in lines]
    return [record.details["generation"] for record in records]
