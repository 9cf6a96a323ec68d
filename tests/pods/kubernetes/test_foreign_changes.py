"""A Deployment that others change again and again is put back, and not fought over."""

from __future__ import annotations

import asyncio

import pytest

from pods.base import PodSpec
from pods.kubernetes import foreign_changes
from pods.kubernetes.foreign_changes import ClusterDeployment, DeploymentMeta, ForeignChanges
from pods.kubernetes.workload import Workload

SPEC = PodSpec(id="api-1", app="shop", component="api", hash="a" * 32)


class Cluster:
    """One Deployment, which the driver has written with generation 1."""

    def __init__(self) -> None:
        self.workload = Workload("api", lambda _workload: None)
        self.workload.applied, self.workload.generation = 1, 1
        self.written: list[Workload] = []
        self.changes = ForeignChanges({"api": self.workload}.get, self.written.append)

    def change(self, generation: int, name: str = "api") -> None:
        meta = DeploymentMeta(name=name, generation=generation)
        self.changes.on_deployment(ClusterDeployment(metadata=meta))

    def write(self, generation: int) -> None:
        self.workload.applied, self.workload.generation = 1, generation


async def test_a_change_by_others_is_put_back_at_once() -> None:
    cluster = Cluster()
    cluster.workload.has_budget = True

    cluster.change(2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert cluster.written == [cluster.workload]
    assert cluster.workload.applied is None
    assert not cluster.workload.has_budget


async def test_the_driver_does_not_put_back_its_own_change() -> None:
    cluster = Cluster()

    cluster.change(1)
    cluster.workload.applied = None  # a write is under way
    cluster.change(2)
    cluster.write(2)
    cluster.change(2)
    cluster.change(7, name="of another driver")
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert not cluster.written


async def test_changes_that_go_on_are_put_back_ever_less_often(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(foreign_changes, "FIRST_DELAY_S", 0.01)
    cluster = Cluster()

    for generation in range(2, 10, 2):
        count = len(cluster.written)
        cluster.change(generation)
        while len(cluster.written) == count:
            await asyncio.sleep(0.001)
        cluster.write(generation + 1)

    delays = [record.args[2] for record in caplog.records if isinstance(record.args, tuple)]
    assert delays == [0, 0.01, 0.02, 0.04]


async def test_several_changes_in_a_pause_are_put_back_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(foreign_changes, "FIRST_DELAY_S", 600)
    cluster = Cluster()

    cluster.change(2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cluster.write(3)
    for generation in (4, 5, 6):
        cluster.change(generation)
    await asyncio.sleep(0)

    assert len(cluster.written) == 1
    cluster.changes.close()
