"""A whole platform in a namespace of the lab, installed by the chart, with a NATS of the test."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from examples.demo.platform import Finished, Platform, credentials
from fox.data_dir import read_info
from fox.nats_keys import ACCOUNT_KEY_FILE
from pods.kubernetes.cluster import read_kubeconfig
from tests.kubernetes import chart
from tests.kubernetes.chart import Values
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.node_agent.container_log import texts_of
from tests.kubernetes.service_proxy import ServiceProxy, open_service_proxy
from tests.support.nats import NatsServer

HTTP_PORT = 8080
COMPONENTS = "app.kubernetes.io/managed-by=kubefox"
# Pods of the lab share the machine's addresses, so each listens on its own alone.
ADDRESSES: Values = {
    "health": {"host": "$(POD_IP)"},
    "control": {"host": "$(POD_IP)"},
    "http": {"host": "$(POD_IP)"},
    "nats": {"server": {"host": "$(POD_IP)"}},
}
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


class ClusterPlatform(Platform):
    """A platform of the lab; made by ``open_platform``.

    Args:
        cluster: The cluster.
        namespace: Where it is installed.
        folder: For files of helm.
        values: Of the chart.

    Attributes:
        proxy: The Service of its HTTP adapters.
    """

    proxy: ServiceProxy

    def __init__(self, cluster: LabCluster, namespace: str, folder: Path, values: Values) -> None:
        super().__init__(folder / "unused")
        self.cluster = cluster
        self.namespace = namespace
        self.folder = folder
        self.values = values

    async def install(self, changes: Values | None = None) -> str:
        """Install the chart, or upgrade to changed values; return the notes."""
        self.values = merged(self.values, changes or {})
        return await asyncio.to_thread(
            chart.install, self.cluster, self.folder, self.namespace, self.values
        )

    async def run(self, *arguments: str | Path, cwd: Path | None = None) -> Finished:
        """Run a ``fox`` command in place of ``kubectl exec`` in a pod of control."""
        await asyncio.to_thread(self._find_control)
        return await super().run(*arguments, cwd=cwd)

    async def get(self, kind: str) -> list[dict[str, Any]]:
        """Return the objects of a kind; see ``Platform.get``."""
        await asyncio.to_thread(self._find_control)
        return await super().get(kind)

    async def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the namespace, and return its output."""
        where = ("--namespace", self.namespace)
        return await asyncio.to_thread(self.cluster.kubectl, *arguments, *where)

    async def objects(self, kind: str, selector: str = COMPONENTS) -> list[dict[str, Any]]:
        """Return objects of the namespace; those that are being deleted are left out."""
        text = await self.kubectl("get", kind, f"--selector={selector}", "--output=json")
        items = json.loads(text)["items"]
        return [each for each in items if "deletionTimestamp" not in each["metadata"]]

    async def pods_of(self, role: str) -> list[dict[str, Any]]:
        """Return the pods of a part of the platform."""
        return await self.objects("pods", f"app.kubernetes.io/component={role}")

    def log_of(self, pod: Mapping[str, Any]) -> str:
        """Return the output of a pod of the platform."""
        (name,) = (container["name"] for container in pod["spec"]["containers"])
        return texts_of((self._folder_of(pod) / f"{name}.log").read_bytes()).decode()

    def _find_control(self) -> None:
        """Use a ready pod of control from now on, with the token of its owner."""
        self.cluster.wait(self._has_found_control)

    def _has_found_control(self) -> bool:
        role = "--selector=app.kubernetes.io/component=control"
        for pod in filter(is_ready, self.cluster.get(self.namespace, "pods", role)):
            self.data_dir = self._folder_of(pod) / "volumes" / "data"
            # Control is ready before it writes its address.
            if (info := read_info(self.data_dir)) is not None:
                self.control_url, self.credentials = info.control_url, credentials(self.data_dir)
                return True
        return False

    def _folder_of(self, pod: Mapping[str, Any]) -> Path:
        return self.cluster.control_plane.folder.joinpath(
            pod["spec"]["nodeName"], pod["metadata"]["uid"]
        )


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod is ready, and not being deleted."""
    conditions = pod["status"].get("conditions", ())
    states = {each["type"]: each["status"] for each in conditions}
    return states.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def merged(values: Values, changes: Values) -> Values:
    """Return values with changes, as helm merges them."""
    result = dict(values)
    for name, change in changes.items():
        before = result.get(name)
        if isinstance(before, dict) and isinstance(change, dict):
            result[name] = merged(before, change)
        else:
            result[name] = change
    return result


def secrets(folder: Path) -> list[dict[str, Any]]:
    """Return the Secrets that the chart needs.

    Args:
        folder: With the keys of NATS, and with the configurations of servers of the chart, if there
            are to be some.
    """
    account_key = (folder / ACCOUNT_KEY_FILE).read_text()
    key = base64.b64encode(bytes(range(32))).decode()
    contents = {
        "kubefox-nats": {"account.key": account_key},
        "kubefox-keys": {"key-encryption-keys": f"{key}\n"},
        "kubefox-nats-servers": {
            file.name: file.read_text() for file in folder.glob("nats-*.conf")
        },
    }
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content}
        for name, content in contents.items()
    ]


@contextlib.asynccontextmanager
async def open_platform(
    cluster: LabCluster, namespace: str, nats: NatsServer | Path, folder: Path, values: Values
) -> AsyncIterator[ClusterPlatform]:
    """Install a platform, and remove it at the end.

    Args:
        cluster: The cluster.
        namespace: It enforces the restricted Pod Security Standard from now on.
        nats: Its NATS, in operator mode; or the folder with the keys and configurations of servers
            of the chart.
        folder: For files.
        values: Of the chart, besides those that the lab needs.
    """
    await asyncio.to_thread(cluster.kubectl, "label", "namespace", namespace, RESTRICTED)
    keys = nats if isinstance(nats, Path) else nats.folder
    await asyncio.to_thread(cluster.apply, namespace, *secrets(keys))
    own: Values = {
        "image": {"repository": "lab"},
        "nats": {"server": {"enabled": True}} if isinstance(nats, Path) else {"url": nats.url},
        "http": {"port": HTTP_PORT, "selection": "open", "preStopSeconds": 2},
    }
    platform = ClusterPlatform(
        cluster, namespace, folder / "helm", merged(merged(ADDRESSES, own), values)
    )
    admin = await asyncio.to_thread(read_kubeconfig, cluster.kubeconfig)
    selector = f"app.kubernetes.io/instance={chart.RELEASE},app.kubernetes.io/component=http"
    async with open_service_proxy(admin, namespace, selector, HTTP_PORT) as platform.proxy:
        try:
            await platform.install()
            platform.http_url = platform.proxy.url
            yield platform
        finally:
            await asyncio.to_thread(chart.uninstall, cluster, platform.folder, namespace)
