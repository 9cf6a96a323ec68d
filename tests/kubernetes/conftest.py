"""Fixtures of all tests of Kubernetes: a cluster, and resources that are applied from it.

None of them runs without the lab's binary, which takes minutes to build. Tests run if it was built
before, or if ``KUBEFOX_TEST_KUBERNETES`` is 1: then it is built before the first test.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from broker.nats.lease import make_leases
from pods.kubernetes.cluster import read_kubeconfig
from tests.kubernetes import binary
from tests.kubernetes.account import CONTROL_RULES, make_account
from tests.kubernetes.lab_cluster import LabCluster, open_lab
from tests.kubernetes.resources import CRDS, Applying, Resources, as_user
from tests.support.control_plane import Plane

NODES = ("node-a", "node-b")
_VARIABLE = "KUBEFOX_TEST_KUBERNETES"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and skip them without the lab."""
    own = [item for item in items if "cluster" in getattr(item, "fixturenames", ())]
    for item in own:
        item.add_marker(pytest.mark.kubernetes)
        if not binary.is_built() and os.environ.get(_VARIABLE) != "1":
            reason = f"the lab's control plane is not built: make test-kubernetes, or {_VARIABLE}=1"
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the lab before the first test, whose time is limited."""
    wanted = any(item.get_closest_marker("kubernetes") for item in session.items)
    if wanted and os.environ.get(_VARIABLE) == "1" and not session.config.option.collectonly:
        binary.build()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCluster]:
    """A cluster with two nodes."""
    with open_lab(binary.path(), tmp_path_factory.mktemp("lab"), NODES) as opened:
        yield opened


@pytest.fixture
def namespace(cluster: LabCluster) -> Iterator[str]:
    """A namespace of the cluster, for one test."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture(scope="session")
def defined(cluster: LabCluster) -> LabCluster:
    cluster.kubectl("apply", "--server-side", "--filename", str(CRDS))
    cluster.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=60s")
    return cluster


@pytest.fixture
async def resources(defined: LabCluster, namespace: str) -> AsyncIterator[Resources]:
    token = await asyncio.to_thread(make_account, defined, namespace, CONTROL_RULES)
    admin = await asyncio.to_thread(read_kubeconfig, defined.control_plane.kubeconfig)
    made = Resources(defined, namespace, as_user(admin, namespace, token))
    yield made
    # Nothing applies them any more, so nothing lets them go.
    for kind in ("virtualenvironments", "environments", "httpadapters"):
        for name in (await made.kubectl("get", kind, "--output=name")).split():
            await made.kubectl(
                "patch", name, "--type=merge", '--patch={"metadata":{"finalizers":null}}'
            )


@pytest.fixture
async def leases(plane: Plane) -> None:
    await make_leases(plane.bus)


@pytest.fixture
async def applying(
    resources: Resources, plane: Plane, leases: None, tmp_path: Path
) -> AsyncIterator[Applying]:
    async with resources.applied(plane, tmp_path / "audit") as applying:
        yield applying
