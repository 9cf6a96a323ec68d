"""A cluster for all tests of Kubernetes; none of them runs without the lab's binary.

The binary takes minutes to build. Tests run if it was built before, or if
``KUBEFOX_TEST_KUBERNETES`` is 1: then it is built before the first test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kubernetes import binary
from tests.kubernetes.lab_cluster import LabCluster, open_lab

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
