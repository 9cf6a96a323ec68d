"""The objects of versions are written and deleted, also while some changes are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from broker.nats.access import Access
from broker.runtime.background import run_in_background
from pods.base import PodSpec
from pods.kubernetes import deployments as deployments_module
from pods.kubernetes.api import Api, ApiError
from pods.kubernetes.cluster_pod import ClusterPod
from pods.kubernetes.deployments import Deployments
from pods.kubernetes.follow import Meta
from pods.kubernetes.manifests import PodSettings
from pods.kubernetes.replica import Replica
from pods.kubernetes.workload import Workload
from pods.logins import PodLogins
from tests.pods.kubernetes.scripted_api import ScriptedApi, scripted_api

SPEC = PodSpec(id="api-1", app="shop", component="api", hash="a" * 32)
APPS = "/apis/apps/v1/namespaces/shop/deployments"


class Writing(NamedTuple):
    """Deployments that write to a scripted API."""

    script: ScriptedApi
    deployments: Deployments

    def workload(self, name: str, pods: int) -> Workload:
        """Return a workload that wants some pods."""
        found = Workload(name, self.deployments.settle_soon)
        found.spec = SPEC
        for _ in range(pods):
            found.add(replica())
        return found

    def replicas(self, name: str) -> int:
        """Return how many pods a Deployment of the API has."""
        count = self.script.objects[f"{APPS}/{name}"]["spec"]["replicas"]
        assert isinstance(count, int)
        return count


def replica() -> Replica:
    return Replica(SPEC, 30, lambda _pod: None)


@pytest.fixture
async def writing() -> AsyncIterator[Writing]:
    async with scripted_api() as (script, api):
        logins = PodLogins(Access("nats://127.0.0.1:1", None))
        settings = PodSettings(image="i")
        yield Writing(script, Deployments(api, "shop", logins, settings, lambda _workload: None))


async def test_a_refused_workload_keeps_no_other_change_waiting(
    writing: Writing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deployments_module, "RETRY_S", 0.001)
    script, deployments = writing.script, writing.deployments
    script.refused = {"bad", "bad-pod"}
    for name in ("bad", "good", "better"):
        deployments.settle_soon(writing.workload(name, 1))
    for name in ("bad", "unused"):
        deployments.delete_soon(Workload(name, lambda _workload: None))
    for name in ("bad-pod", "pod"):
        deployments.end_soon(ClusterPod(metadata=Meta(name=name, uid=name)))

    running = asyncio.create_task(deployments.run())
    while ("DELETE", "/api/v1/namespaces/shop/pods/pod") not in script.calls:
        await asyncio.sleep(0.001)
    script.refused = set()
    while ("DELETE", "/api/v1/namespaces/shop/pods/bad-pod") not in script.calls[-1:]:
        await asyncio.sleep(0.001)
    running.cancel()

    assert "refused by a policy" in caplog.text
    assert {name: writing.replicas(name) for name in ("good", "better")} == {"good": 1, "better": 1}
    assert ("DELETE", f"{APPS}/unused") in script.calls


async def test_a_refused_workload_keeps_no_other_change_waiting_when_the_driver_closes(
    writing: Writing,
) -> None:
    writing.script.refused = {"bad"}
    for name in ("bad", "good", "better"):
        writing.deployments.settle_soon(writing.workload(name, 1))

    await writing.deployments.close()

    assert {name: writing.replicas(name) for name in ("good", "better")} == {"good": 1, "better": 1}


async def test_a_pod_that_must_end_at_once_while_it_is_being_deleted_is_deleted_again(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, deployments = writing.script, writing.deployments
    pod = ClusterPod(metadata=Meta(name="pod", uid="u"))
    delete = Api.delete

    async def delete_slowly(
        api: Api, path: str, *, uid: str = "", grace_s: int | None = None
    ) -> None:
        if grace_s:
            deployments.end_soon(pod, 0)
        await delete(api, path, uid=uid, grace_s=grace_s)

    monkeypatch.setattr(Api, "delete", delete_slowly)
    deployments.end_soon(pod)

    async with run_in_background(deployments.run(), "writing"):
        while len(script.grace_s) < 2:
            await asyncio.sleep(0.001)

    assert script.grace_s == [1, 0]


async def test_a_pod_that_must_end_at_once_does_so_also_when_it_is_then_killed(
    writing: Writing,
) -> None:
    pod = ClusterPod(metadata=Meta(name="pod", uid="u"))

    for grace_s in (0, 1):
        writing.deployments.end_soon(pod, grace_s)
    async with run_in_background(writing.deployments.run(), "writing"):
        while not writing.script.grace_s:
            await asyncio.sleep(0.001)

    assert writing.script.grace_s == [0]


async def test_a_version_that_was_never_written_and_wants_no_pods_is_not_written(
    writing: Writing,
) -> None:
    await writing.deployments.settle(writing.workload("api", 0))

    assert not writing.script.objects


async def test_pods_of_an_earlier_process_that_are_not_wanted_are_ended(writing: Writing) -> None:
    writing.script.objects[f"{APPS}/api"] = {"metadata": {"generation": 4}, "spec": {"replicas": 3}}
    workload = writing.workload("api", 0)

    await writing.deployments.settle(workload)

    assert writing.replicas("api") == 0
    assert (workload.applied, workload.generation) == (0, 5)
    assert len(writing.script.objects) == 1


async def test_the_secret_is_written_again_when_the_number_of_pods_rises_from_0(
    writing: Writing,
) -> None:
    workload, first = writing.workload("api", 0), replica()
    workload.add(first)
    await writing.deployments.settle(workload)
    workload.begin_leaving(first)
    workload.end_leaving(first)
    await writing.deployments.settle(workload)
    writing.script.calls.clear()

    workload.add(replica())
    workload.add(replica())
    await writing.deployments.settle(workload)

    assert writing.script.writes == ["secrets/api", "poddisruptionbudgets/api", "deployments/api"]


async def test_another_pod_needs_no_other_secret(writing: Writing) -> None:
    workload = writing.workload("api", 1)
    await writing.deployments.settle(workload)
    writing.script.calls.clear()

    workload.add(replica())
    await writing.deployments.settle(workload)

    assert writing.script.writes == ["poddisruptionbudgets/api", "deployments/api"]


async def test_a_refused_deployment_is_an_error_to_the_one_who_settles_it(writing: Writing) -> None:
    writing.script.refused = {"api"}

    with pytest.raises(ApiError, match="refused by a policy"):
        await writing.deployments.settle(writing.workload("api", 1))
