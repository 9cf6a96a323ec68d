"""``fox --kube-context``: commands reach the control API in a cluster, or say why they do not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from examples.order_app import ENVIRONMENTS, build
from tests.kubernetes.kube_fox import CONTEXT, FORWARD, READ_PODS, RULES, KubeFox
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.manifests import container, pod
from tests.kubernetes.platform import ClusterPlatform, open_platform
from tests.support.certificates import Authority
from tests.support.nats import NatsServer

pytestmark = pytest.mark.timeout(900)

LARGE_BYTES = 16 << 20
CREATE_TOKEN = ("fox", "token", "create", "admin", "--role", "admin")


@pytest.fixture
def fox(lab: LabCluster, tmp_path: Path) -> KubeFox:
    return KubeFox(lab, tmp_path / "user")


@pytest.fixture
async def platform(
    lab: LabCluster, namespace: str, own_secured_nats_server: NatsServer, tmp_path: Path
) -> AsyncIterator[ClusterPlatform]:
    async with open_platform(lab, namespace, own_secured_nats_server, tmp_path, {}) as platform:
        yield platform


async def log_in(fox: KubeFox, platform: ClusterPlatform) -> None:
    """Give a user the rights of the documentation, and a token made as it says."""
    await asyncio.to_thread(fox.log_in, platform.namespace, *RULES)
    where = ("exec", "--namespace", platform.namespace, "deployment/kubefox-control")
    made = await asyncio.to_thread(platform.cluster.kubectl, *where, "--", *CREATE_TOKEN)
    (fox.environ["FOX_TOKEN"],) = (word for word in made.split() if word.startswith("fox_"))


async def test_commands_reach_the_platform_of_a_context(
    platform: ClusterPlatform, fox: KubeFox, tmp_path: Path
) -> None:
    repository = tmp_path / "order-app"
    build(repository)
    await asyncio.to_thread(fox.log_in, platform.namespace, READ_PODS, name="reader")
    without_right = await fox.err("get", "pods")
    await asyncio.to_thread(fox.log_in, platform.namespace, *RULES)
    without_token = await fox.err("get", "pods")
    await log_in(fox, platform)

    assert "Kubernetes does not allow this" in without_right
    assert "pods/portforward" in without_right
    assert "kubectl --context lab-user --namespace" in without_token
    assert "KubeFox" in await fox.out("status")
    await fox.out("apply", "-f", ENVIRONMENTS, cwd=repository)
    deploy = ("deploy", "order-app-v1", "--ref", "v1", "--version", "v1", "--wait")
    assert "is ready: 3 pods" in await fox.out(*deploy, cwd=repository)
    await fox.out("release", "order-app-v1", "--virtual-env", "team-a", "--wait")

    await complete_a_name(fox)
    await upload_much(fox, repository)
    await end_in_every_way(fox)
    await replace_control(fox, platform)


async def complete_a_name(fox: KubeFox) -> None:
    """Have bash complete the name of a deployment."""
    words = f"fox --kube-context {CONTEXT} describe deployments "
    typed = {"_FOX_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "5"}
    fox.environ |= typed

    assert (await fox.out()).split() == ["order-app-v1"]
    fox.environ = {name: value for name, value in fox.environ.items() if name not in typed}


async def upload_much(fox: KubeFox, repository: Path) -> None:
    """Deploy a component with a large file, which no compression makes smaller."""
    (repository / "components" / "api-server" / "large").write_bytes(os.urandom(LARGE_BYTES))

    printed = await fox.out("deploy", "large", "--dirty", "--no-wait", cwd=repository)

    assert "deployment large" in printed
    assert "large" in await fox.out("get", "deployments", "large")


async def end_in_every_way(fox: KubeFox) -> None:
    """End commands that wait: no tunnel stays."""
    for number, code in (
        (signal.SIGINT, 130),
        (signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGHUP, -signal.SIGHUP),
        (signal.SIGKILL, -signal.SIGKILL),
    ):
        async with fox.running("logs", "--follow", "-o", "json") as following:
            assert following.stdout is not None
            assert b'"component"' in await following.stdout.readline()
            assert len(fox.tunnels()) == 1

            ended = await fox.end(following, number)

        assert ended == code, number
        await fox.wait_no_tunnel()


async def replace_control(fox: KubeFox, platform: ClusterPlatform) -> None:
    """Replace the pods of control: a command that asks again goes on, one that follows says why."""
    before = {pod["metadata"]["name"] for pod in await platform.pods_of("control")}
    async with (
        fox.running("stats", "--watch", "-o", "json") as watching,
        fox.running("logs", "--follow", "-o", "json") as following,
    ):
        assert watching.stdout is not None
        assert following.stdout is not None
        await read_document(watching.stdout)
        await following.stdout.readline()
        reading = asyncio.create_task(following.communicate())

        await platform.kubectl("rollout", "restart", "deployment/kubefox-control")
        await asyncio.to_thread(
            platform.cluster.wait_available, platform.namespace, "kubefox-control"
        )
        replaced_s = time.time()
        after = {pod["metadata"]["name"] for pod in await platform.pods_of("control")}
        _, lost = await reading
        while (await read_document(watching.stdout))["at_s"] < replaced_s:
            pass
        interrupted = await fox.end(watching, signal.SIGINT)

    assert not before & after
    assert (following.returncode, interrupted) == (1, 130)
    assert b"has ended the log" in lost or b"was lost" in lost
    await fox.wait_no_tunnel()


async def read_document(stream: asyncio.StreamReader) -> dict[str, Any]:
    """Return the next JSON document, which begins and ends with a line of one brace."""
    lines: list[bytes] = []
    while not lines or lines[-1] != b"}\n":
        line = await stream.readline()
        assert line, "the command has ended"
        lines = [line] if line == b"{\n" else [*lines, line]
    document: dict[str, Any] = json.loads(b"".join(lines))
    return document


async def test_the_certificate_of_the_service_is_checked_through_the_tunnel(
    lab: LabCluster,
    namespace: str,
    own_secured_nats_server: NatsServer,
    fox: KubeFox,
    tmp_path: Path,
) -> None:
    (tmp_path / "tls").mkdir()
    authority = Authority(tmp_path / "tls")
    files = authority.issue("control", f"kubefox-control.{namespace}.svc")
    make = ("create", "secret", "tls", "control-tls", "--namespace", namespace)
    options = (f"--cert={files[0]}", f"--key={files[1]}")
    await asyncio.to_thread(lab.kubectl, *make, *options)
    values = {"control": {"tls": {"secret": "control-tls"}}}
    async with open_platform(lab, namespace, own_secured_nats_server, tmp_path, values) as platform:
        await log_in(fox, platform)

        refused = await fox.err("get", "pods")
        fox.environ["FOX_CONTROL_CA"] = str(authority.file)
        printed = await fox.out("version")

    assert "cannot be trusted: unable to get local issuer certificate" in refused
    assert printed.endswith(f" at https://kubefox-control.{namespace}.svc:8081\n")


async def test_an_error_says_what_is_missing_in_the_cluster(
    lab: LabCluster, namespace: str, fox: KubeFox
) -> None:
    def start_pod(ready: str) -> None:
        """Run a pod that has the command of control, and is no control."""
        probe = {"exec": {"command": [ready]}, "periodSeconds": 1}
        main = container("fox", "serve", "control", "--help", readinessProbe=probe)
        labels = {"app.kubernetes.io/component": "control"}
        one = pod("control", main)
        one["metadata"]["labels"] = labels
        lab.apply(namespace, one)
        lab.wait(lambda: bool(lab.pods(namespace)[0]["status"].get("containerStatuses")))

    place = f"namespace {namespace} of context {CONTEXT}"
    url = lab.control_plane.url
    fox.use(url, namespace, "lab-admin")
    empty = await fox.err("status")
    missing = await fox.err("status", "--kube-namespace", "absent")
    unknown = await fox.err("status", "--kube-context", "kind-absent")
    fox.use("https://127.0.0.1:1", namespace, "lab-admin")
    away = await fox.err("status")
    fox.use(url, "", "lab-admin")
    without_namespace = await fox.err("status")
    await asyncio.to_thread(fox.log_in, namespace, FORWARD, name="forward")
    may_not_list = await fox.err("status")
    await asyncio.to_thread(start_pod, "false")
    await asyncio.to_thread(fox.log_in, namespace, READ_PODS, name="read")
    not_ready = await fox.err("status")

    assert f"{place} has no pod of control" in empty
    assert f"namespace absent of context {CONTEXT} does not exist" in missing
    assert f"Expected a context of the kubeconfig: {CONTEXT}" in unknown
    assert f"{place} cannot be reached: kubectl says: The connection to the server" in away
    assert f"namespace kubefox of context {CONTEXT}" in without_namespace
    assert f"Kubernetes does not allow this in {place}" in may_not_list
    assert "cannot list resource" in may_not_list
    assert f"no pod of control is ready in {place}: control (" in not_ready
    assert not fox.tunnels()
