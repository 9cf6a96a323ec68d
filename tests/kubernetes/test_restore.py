"""A platform in a cluster is restored by the commands of the documentation."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.documents import blocks, page, run_script
from tests.kubernetes import chart
from tests.kubernetes.documented import Shell, commands
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.shop import REPOSITORY, TEAM, Shop, open_shop
from tests.support.nats import NatsServer

pytestmark = pytest.mark.timeout(900)

PAGE = "operations/kubernetes"
SEALED = """\
apiVersion: kubefox.xigxog.io/v1alpha1
kind: Environment
metadata: {name: sealed}
data: {secrets: {token: not-for-components}}
"""


class Drill:
    """The data of NATS, which is backed up, lost and restored as the page says.

    Args:
        nats: Its server.
        folder: Where the commands run; it gets the backup.
    """

    def __init__(self, nats: NatsServer, folder: Path) -> None:
        self._nats = nats
        self._folder = folder
        self._data = nats.folder / "jetstream"
        (folder / "nats-server").mkdir()
        (folder / "nats-server" / "data").symlink_to(nats.folder)
        _, _, self._back_up, self._restore = blocks(page("operations/backup"), "sh")

    async def back_up(self) -> None:
        """Back up the data."""
        await self._while_stopped(lambda: run_script(self._back_up, cwd=self._folder))

    async def restore(self) -> None:
        """Restore the data, and start the server."""
        await self._while_stopped(lambda: run_script(self._restore, cwd=self._folder))

    async def lose(self) -> None:
        """Lose the data, and leave the server stopped."""
        await asyncio.to_thread(self._nats.kill)
        await asyncio.to_thread(shutil.rmtree, self._data)

    async def _while_stopped(self, work: Callable[[], Coroutine[Any, Any, str]]) -> None:
        await asyncio.to_thread(self._nats.stop)
        await work()
        await asyncio.to_thread(self._nats.start)


async def renewed_records(shop: Shop) -> int:
    """Return how many records have secrets that the platform can read, and seal by a new key."""
    shown = await shop.platform.fox("rotate-keys", "--data-key", "--output", "json")
    return int(json.loads(shown)["renewed"])


async def deployed(shop: Shop) -> set[str]:
    """Return the names of the Deployments of components."""
    return {each["metadata"]["name"] for each in await shop.platform.objects("deployments")}


async def wait_deployed(shop: Shop, names: set[str]) -> None:
    """Return when these are the Deployments of components."""
    while await deployed(shop) != names:
        await asyncio.sleep(0.5)


async def deploy_second_version(shop: Shop, repository: Path) -> None:
    fox = shop.platform.fox
    name = "order-app-v2"
    await fox("deploy", name, "--ref", "v2", "--version", "v2", "--wait", cwd=repository)
    await fox("release", "v2", "--virtual-env", TEAM, "--wait", cwd=repository)


async def wait_page(shop: Shop, version: str) -> None:
    """Return when a plain URL is answered by a version of the app."""
    while True:
        page = await shop.browser.get(TEAM)
        if page.status == 200 and page.deployment == f"order-app-{version}":
            return
        await asyncio.sleep(0.5)


async def test_a_lost_namespace_and_an_older_state_are_restored(
    lab: LabCluster, namespace: str, own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    keep, *_ = commands(PAGE, "## Back up and restore")
    restore, *_ = commands(PAGE, "### Restore a lost namespace or cluster")
    (go_back,) = commands(PAGE, "### Go back to an older state")
    operator = tmp_path / "operator"
    shell = Shell(lab, namespace, operator)
    drill = Drill(own_secured_nats_server, operator)
    async with open_shop(lab, namespace, own_secured_nats_server, tmp_path) as shop:
        (operator / "sealed.yaml").write_text(SEALED)
        await shop.platform.fox("apply", "-f", operator / "sealed.yaml")
        first = await deployed(shop)
        await drill.back_up()
        await shell.run(keep)

        await drill.lose()
        await asyncio.to_thread(chart.uninstall, lab, shop.platform.folder, namespace)
        await shell.run("kubectl delete namespace kubefox")
        await drill.restore()
        await shell.run(restore)
        await shop.wait_pods(lambda _pods: True)
        await wait_page(shop, "v1")
        await wait_deployed(shop, first)
        renewed = await renewed_records(shop)

        await deploy_second_version(shop, tmp_path / REPOSITORY)
        await wait_page(shop, "v2")
        newer = await deployed(shop)
        await drill.restore()
        await wait_deployed(shop, first)
        await wait_page(shop, "v1")

        await shell.run(go_back)
        await wait_deployed(shop, first)
        await shop.wait_pods(lambda _pods: True)
        await wait_page(shop, "v1")
        audit = [
            line
            for pod in await shop.platform.pods_of("control")
            for line in shop.platform.log_of(pod).splitlines()
            if line.startswith('{"audit":')
        ]

    assert first < newer
    assert renewed > 0
    operations = {json.loads(line)["audit"]["operation"] for line in audit}
    assert "PUT /v1/deployments/{name}" in operations
