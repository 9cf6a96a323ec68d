"""`fox serve pods` with the driver of a cluster: a start that cannot work ends with its reason."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from fox.data_dir import KEY_FILE
from tests.fox.cli.conftest import FOX, STOP_S
from tests.fox.test_health import serve, wait_for
from tests.support.nats import NatsServer

KUBECONFIG = """\
current-context: shop
contexts: [{name: shop, context: {cluster: shop, user: shop, namespace: shop}}]
clusters: [{name: shop, cluster: {server: "https://127.0.0.1:9"}}]
users: [{name: shop, user: {token: secret}}]
"""


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"KUBECONFIG": ""}, "there is no cluster"),
        ({"FOX_POD_IMAGE": ""}, "FOX_POD_IMAGE is not set"),
        ({"FOX_POD_IMAGE_REPOSITORIES": "team"}, "image repository 'team' is not valid"),
        ({"FOX_POD_TEMPLATE": '{"hostPID": true}'}, "unknown field `hostPID`"),
    ],
)
async def test_a_pod_runner_that_could_run_no_pod_does_not_start(
    own_secured_nats_server: NatsServer, tmp_path: Path, variables: dict[str, str], message: str
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    environ = {
        **os.environ,
        **own_secured_nats_server.environ,
        "FOX_DATA_DIR": str(tmp_path / "pods"),
        "FOX_KEY_FILE": str(tmp_path / "control" / KEY_FILE),
        "FOX_POD_DRIVER": "kubernetes",
        "FOX_POD_IMAGE": "kubefox:1",
        "KUBECONFIG": str(kubeconfig),
        **variables,
    }
    async with serve("control", own_secured_nats_server, tmp_path) as port:
        await wait_for(port, "/readyz", 200)
        process = await asyncio.create_subprocess_exec(
            *FOX, "serve", "pods", env=environ, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(STOP_S):
            _, errors = await process.communicate()

    assert process.returncode == 1
    assert message in errors.decode()


async def test_a_pod_runner_whose_cluster_is_away_is_ready_and_ends_in_order(
    own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    variables = {
        "FOX_POD_DRIVER": "kubernetes",
        "FOX_POD_IMAGE": "kubefox:1",
        "KUBECONFIG": str(kubeconfig),
    }

    async with (
        serve("control", own_secured_nats_server, tmp_path) as control,
        serve("pods", own_secured_nats_server, tmp_path, **variables) as pods,
    ):
        await wait_for(control, "/readyz", 200)
        assert await wait_for(pods, "/readyz", 200) == "ok\n"
