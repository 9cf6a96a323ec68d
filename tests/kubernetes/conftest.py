"""Fixtures of all tests of Kubernetes: a cluster, and resources that are applied from it.

None of them runs without a cluster. That is the lab, whose programs take minutes to build: tests
run if they were built before, or if ``KUBEFOX_TEST_KUBERNETES`` is 1: then they are built before
the first test. ``KUBEFOX_TEST_KUBECONFIG`` names another cluster: tests that need the lab's nodes,
whose pods are processes of this machine, are skipped then.
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
from tests.kubernetes.any_cluster import AnyCluster
from tests.kubernetes.lab_cluster import LabCluster, open_lab
from tests.kubernetes.resources import CRDS, Applying, Resources, as_user
from tests.support.control_plane import Plane

NODES = ("node-a", "node-b")
_VARIABLE = "KUBEFOX_TEST_KUBERNETES"
_NEEDS_LAB = "it needs the lab, whose pods are processes of this machine"
_OTHER = os.environ.get("KUBEFOX_TEST_KUBECONFIG", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and skip them without the lab."""
    here = Path(__file__).parent
    used = {"cluster", "lab"}
    own = [
        item
        for item in items
        # A hook of a folder gets the tests of all folders.
        if item.path.is_relative_to(here) and used & set(getattr(item, "fixturenames", ()))
    ]
    for item in own:
        item.add_marker(pytest.mark.kubernetes)
        if reason := _reason_to_skip(item):
            item.add_marker(pytest.mark.skip(reason=reason))


def _reason_to_skip(item: pytest.Item) -> str:
    if _OTHER:
        has_own_lab = "cluster" not in getattr(item, "fixturenames", ())
        return _NEEDS_LAB if has_own_lab else ""
    if binary.is_built() or os.environ.get(_VARIABLE) == "1":
        return ""
    return f"the lab's control plane is not built: make test-kubernetes, or {_VARIABLE}=1"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the lab before the first test, whose time is limited."""
    if _OTHER or os.environ.get(_VARIABLE) != "1" or session.config.option.collectonly:
        return
    if any(item.get_closest_marker("kubernetes") for item in session.items):
        binary.build()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyCluster]:
    """The lab with two nodes, or another cluster."""
    if _OTHER:
        yield AnyCluster(["kubectl"], Path(_OTHER), tmp_path_factory.mktemp("cluster"))
        return
    with open_lab(binary.path(), tmp_path_factory.mktemp("lab"), NODES) as opened:
        yield opened


@pytest.fixture(scope="session")
def lab(cluster: AnyCluster) -> LabCluster:
    """The lab, for tests that need its nodes or its control plane."""
    if not isinstance(cluster, LabCluster):
        pytest.skip(_NEEDS_LAB)
    return cluster


@pytest.fixture
def namespace(cluster: AnyCluster) -> Iterator[str]:
    """A namespace of the cluster, for one test."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture(scope="session")
def defined(cluster: AnyCluster) -> AnyCluster:
    cluster.kubectl("apply", "--server-side", "--filename", str(CRDS))
    cluster.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=60s")
    return cluster


@pytest.fixture
async def resources(defined: AnyCluster, namespace: str) -> AsyncIterator[Resources]:
    token = await asyncio.to_thread(make_account, defined, namespace, CONTROL_RULES)
    admin = await asyncio.to_thread(read_kubeconfig, defined.kubeconfig)
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
