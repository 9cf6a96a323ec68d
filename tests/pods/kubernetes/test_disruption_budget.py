"""A version with several pods has a disruption budget, whenever they are added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from broker.nats.access import Access
from pods.base import PodSpec
from pods.kubernetes.api import Api
from pods.kubernetes.deployments import Deployments
from pods.kubernetes.manifests import PodSettings
from pods.kubernetes.replica import Replica
from pods.kubernetes.workload import Workload
from pods.logins import PodLogins

SPEC = PodSpec(id="api-1", app="shop", component="api", hash="a" * 32)


class RecordingApi(Api):
    """An API that accepts each object, and calls a function while it writes one of a kind.

    Attributes:
        written: The objects in their order.
    """

    def __init__(self, kind: str, while_written: Callable[[], None]) -> None:
        self._kind = kind
        self._while_written = while_written
        self.written: list[dict[str, Any]] = []

    async def apply(self, path: str, manifest: dict[str, Any]) -> bytes:
        del path
        self.written.append(manifest)
        if manifest["kind"] == self._kind:
            self._while_written()
        return b'{"metadata": {"name": "api", "generation": 1}}'


@pytest.mark.parametrize("kind", ["Secret", "Deployment"])
async def test_a_pod_that_is_added_during_the_first_write_brings_a_budget(kind: str) -> None:
    workload = Workload("api", lambda _workload: None)
    workload.spec = SPEC

    def add_once() -> None:
        if workload.wanted == 1:
            workload.add(Replica(SPEC, 30, lambda _pod: None))

    api = RecordingApi(kind, add_once)
    logins = PodLogins(Access("nats://127.0.0.1:1", None))
    deployments = Deployments(api, "shop", logins, PodSettings(image="i"), lambda _workload: None)
    workload.add(Replica(SPEC, 30, lambda _pod: None))

    await deployments.settle(workload)
    await deployments.settle(workload)

    last = [each for each in api.written if each["kind"] == "Deployment"][-1]
    assert last["spec"]["replicas"] == 2
    assert "PodDisruptionBudget" in {each["kind"] for each in api.written}
