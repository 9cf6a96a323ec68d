"""A watch whose place in the data is gone on a real API server: the objects are listed again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

import msgspec

from pods.kubernetes.api import Change, open_api
from pods.kubernetes.cluster import read_kubeconfig
from pods.kubernetes.follow import Following, Meta
from tests.kubernetes.any_cluster import WAIT_S
from tests.kubernetes.lab_cluster import LabCluster

_POLL_S = 0.05


class Named(msgspec.Struct, frozen=True):
    """An object of any kind."""

    metadata: Meta


async def test_changes_in_a_gap_of_a_watch_are_found_by_a_new_list(
    lab: LabCluster, namespace: str
) -> None:
    login = await asyncio.to_thread(read_kubeconfig, lab.kubeconfig)
    path, selectors = f"/api/v1/namespaces/{namespace}/configmaps", {"labelSelector": "of=test"}
    events: list[str] = []
    async with open_api(login) as api:
        following = Following(
            api,
            path,
            selectors,
            Named,
            lambda found: events.append(found.metadata.name),
            lambda found: events.append(f"-{found.metadata.name}"),
        )
        version = (await api.list(path, selectors)).metadata.resource_version
        await asyncio.to_thread(lab.apply, namespace, config_map("old"), config_map("kept"))
        async with running(following):
            await until(lambda: sorted(events) == ["kept", "old"])

        where = ("--namespace", namespace)
        await asyncio.to_thread(lab.kubectl, "delete", "configmap", "old", *where)
        await asyncio.to_thread(lab.apply, namespace, config_map("new"))
        # The new process knows no change from before its start.
        await asyncio.to_thread(lab.control_plane.kill_api_server)
        await asyncio.to_thread(lab.control_plane.start_api_server)
        changes: list[Change] = []
        async with contextlib.aclosing(api.watch(path, selectors, version)) as watching:
            changes.append(await anext(watching))
        async with running(following):
            await until(lambda: len(events) == 4)

    assert changes[0].type == "ERROR"
    assert msgspec.json.decode(changes[0].object)["code"] == HTTPStatus.GONE
    assert events[2:] == ["-old", "new"]
    assert not following.fault


@contextlib.asynccontextmanager
async def running(following: Following[Named]) -> AsyncIterator[None]:
    """Follow for the length of the context."""
    task = asyncio.create_task(following.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], bool]) -> None:
    """Return when a condition holds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(_POLL_S)


def config_map(name: str) -> dict[str, object]:
    """Return a ConfigMap that is followed."""
    meta = {"name": name, "labels": {"of": "test"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
