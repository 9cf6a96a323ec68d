"""A driver on a cluster of the lab, for test classes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker.nats import bus as buses
from broker.nats.access import Access
from broker.nats.credentials import permissions
from broker.nats.credentials.permissions import Role
from pods.kubernetes.cluster import read_kubeconfig
from pods.kubernetes.cluster_logs import ClusterLogs
from pods.kubernetes.driver import KubernetesDriver
from pods.kubernetes.manifests import PodSettings
from pods.kubernetes.pod_template import parse_template
from pods.log_files import LogFiles
from pods.logins import PodLogins
from pods.logs import PodLogs
from tests.kubernetes.account import make_account
from tests.kubernetes.lab_cluster import LabCluster
from tests.pods import programs
from tests.pods.driver_contract import IMAGE, Bundles
from tests.pods.processes import wait_until
from tests.support.nats import NatsServer

PROCESS = "pods-of-the-test"
REPOSITORY = "registry.lab/team"
"""Where the images are that components may name."""
Objects = list[dict[str, Any]]


class LabDriver:
    """Opens drivers in a namespace of their own, with the rights of a pod runner alone.

    Attributes:
        cluster: The cluster.
        namespace: The namespace.
        login: That of the drivers.
        logs: Reads the output of the pods of the driver that is open.
    """

    @pytest.fixture(autouse=True)
    async def _prepared(
        self,
        lab: LabCluster,
        namespace: str,
        own_secured_nats_server: NatsServer,
        tmp_path: Path,
    ) -> AsyncIterator[None]:
        # The cluster refuses each pod that is not restricted.
        restricted = "pod-security.kubernetes.io/enforce=restricted"
        await asyncio.to_thread(lab.kubectl, "label", "namespace", namespace, restricted)
        token = await asyncio.to_thread(make_account, lab, namespace)
        admin = await asyncio.to_thread(read_kubeconfig, lab.kubeconfig)
        self.login = msgspec.structs.replace(admin.in_namespace(namespace), token=token)
        self.cluster, self.namespace = lab, namespace
        await asyncio.to_thread(lab.images.add, IMAGE, {})
        self.server, self.data_dir = own_secured_nats_server, tmp_path
        self.logs = PodLogs(LogFiles(tmp_path / "logs"))
        rights = permissions.for_platform([Role.PODS], PROCESS)
        login = own_secured_nats_server.login(PROCESS, rights)
        async with buses.connect(
            login.url, process_id=PROCESS, credentials=login.credentials
        ) as self.bus:
            yield

    def open_driver(
        self,
        bundles: Bundles,
        *,
        grace_s: float = 30,
        alive_s: float = math.inf,
        template: str = "",
        image: str = "lab",
        **settings: Any,
    ) -> KubernetesDriver:
        """Return a driver that is not open yet; ``settings`` are further ones of its pods."""
        assert self.server.keys is not None
        return KubernetesDriver(
            find_cluster=lambda: self.login,
            bus=self.bus,
            data_dir=self.data_dir,
            logins=PodLogins(Access(self.server.url, self.server.keys.account_key)),
            fetch=bundles.get,
            logs=self.logs,
            settings=PodSettings(
                image=image,
                image_repositories=(REPOSITORY,),
                template=parse_template(template),
                command=programs.COMMAND,
                grace_s=grace_s,
                alive_s=alive_s,
                **settings,
            ),
        )

    @property
    def open_streams(self) -> int:
        """How many logs the driver that is open follows."""
        source = self.logs._source
        assert isinstance(source, ClusterLogs)
        return source.open_streams

    async def wait_followed(self) -> None:
        """Return when a log is followed; see ``DriverContract``."""
        await wait_until(lambda: self.open_streams > 0)

    async def pods(self, condition: Callable[[Objects], bool]) -> Objects:
        """Return the pods of the cluster as soon as ``condition`` holds for them."""
        found: Objects = []

        def is_so() -> bool:
            found[:] = self.cluster.pods(self.namespace)
            return condition(found)

        await asyncio.to_thread(self.cluster.wait, is_so)
        return found

    async def deployments(self) -> Objects:
        return await asyncio.to_thread(self.cluster.get, self.namespace, "deployments")
