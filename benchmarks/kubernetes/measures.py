"""The measurements: convergence, rest, one more deployment, and processes that start again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from benchmarks.kubernetes.apps import Apps
from benchmarks.kubernetes.availability import follow_availability
from benchmarks.kubernetes.calls import by_kind
from benchmarks.kubernetes.site import ACCOUNTS, CONTROL, RUNNER, Site
from fox.cli.support.deployment_pods import wait_ready
from fox.cli.support.kinds import PODS
from fox.cli.support.pages import documents
from kubefox.deployment import Deployment
from kubefox.pod import PodPhase, PodStatus

COMPONENTS = 10
"""Components of an app."""
WAIT_S = 1800.0
_QUIET_S = 3.0
_STEP_S = 0.25


class Cost(msgspec.Struct, kw_only=True):
    """The cost of one phase.

    Attributes:
        seconds: How long it took.
        cpu_s: CPU time of each process, by its role.
        calls: Calls of the API server: by role, and by verb and resource.
    """

    seconds: float = 0
    cpu_s: dict[str, float] = {}
    calls: dict[str, dict[str, int]] = {}


class Convergence(msgspec.Struct, frozen=True, kw_only=True):
    """The first deployment of all apps.

    Attributes:
        stored_s: Until control had stored all of them.
        exist_s: Until each component version had a Deployment.
        available_s: Until each Deployment was available, as Kubernetes reports it.
        ready_s: Until ``fox deploy --wait`` of each app would have ended.
        cost: Of all of it, with the work that follows.
    """

    stored_s: float
    exist_s: float
    available_s: float
    ready_s: float
    cost: Cost


@asynccontextmanager
async def phase(site: Site) -> AsyncIterator[Cost]:
    """Measure the body of the context; roles that run at its end are measured."""
    site.audit.take()
    cost, before, begin_s = Cost(), site.cpu_s(), time.monotonic()
    yield cost
    cost.seconds = round(time.monotonic() - begin_s, 3)
    # A process that has started meanwhile has begun at 0.
    after = site.cpu_s()
    cost.cpu_s = {role: round(spent - before.get(role, 0), 3) for role, spent in after.items()}
    found = site.audit.take()
    cost.calls = {role: by_kind(found, account) for role, account in ACCOUNTS.items()}


async def converge(site: Site, apps: Apps, count: int) -> Convergence:
    """Deploy so many apps, and return when the platform is quiet again."""
    requests = [await asyncio.to_thread(apps.prepare, f"app-{number}") for number in range(count)]
    versions = count * COMPONENTS
    async with follow_availability(site.admin, versions) as found, phase(site) as cost:
        begin_s = time.monotonic()
        for request in requests:
            await asyncio.to_thread(apps.deploy, request)
        stored_s = time.monotonic()
        for request in requests:
            await _wait_ready(site, request)
        ready_s = time.monotonic()
        async with asyncio.timeout(WAIT_S):
            await found.wait()
        await settle(site)
    assert found.exist_s is not None
    assert found.available_s is not None
    return Convergence(
        stored_s=round(stored_s - begin_s, 3),
        exist_s=round(found.exist_s - begin_s, 3),
        available_s=round(found.available_s - begin_s, 3),
        ready_s=round(ready_s - begin_s, 3),
        cost=cost,
    )


async def rest(site: Site, seconds: float) -> Cost:
    """Measure a platform that nobody uses."""
    async with phase(site) as cost:
        await asyncio.sleep(seconds)
    return cost


async def one_more(site: Site, apps: Apps, number: int) -> Cost:
    """Deploy another version of an app with one changed component."""
    request = await asyncio.to_thread(apps.prepare, "app-0", changed=f"change-{number}")
    async with phase(site) as cost:
        await asyncio.to_thread(apps.deploy, request)
        await _wait_ready(site, request)
    # The later work of control and the cluster is not that of the next one.
    await settle(site)
    return cost


async def restart_runner(site: Site) -> Cost:
    """Stop the pod runner and start it again; measure until the new one has all pods."""
    before = await asyncio.to_thread(_pods, site)
    await site.stop_part(RUNNER)
    async with phase(site) as cost:
        begin_s = time.monotonic()
        await site.start(RUNNER)
        async with asyncio.timeout(WAIT_S):
            while not _are_taken_over(  # noqa: ASYNC110 - another process does it
                await asyncio.to_thread(_pods, site), before
            ):
                await asyncio.sleep(_STEP_S)
        taken_s = time.monotonic() - begin_s
        await settle(site)
    cost.seconds = round(taken_s, 3)
    return cost


async def restart_control(site: Site) -> Cost:
    """Stop control and start it again; measure until it serves, and count its later calls."""
    await site.stop_part(CONTROL)
    async with phase(site) as cost:
        begin_s = time.monotonic()
        await site.start(CONTROL)
        served_s = time.monotonic() - begin_s
        await settle(site)
    cost.seconds = round(served_s, 3)
    return cost


async def settle(site: Site) -> None:
    """Return when the platform has made no call for some seconds."""
    async with asyncio.timeout(WAIT_S):
        quiet_s, size = 0.0, -1
        while quiet_s < _QUIET_S:
            await asyncio.sleep(_STEP_S)
            quiet_s = quiet_s + _STEP_S if site.audit.size == size else 0.0
            size = site.audit.size


async def _wait_ready(site: Site, request: dict[str, object]) -> None:
    deployment = request["deployment"]
    assert isinstance(deployment, Deployment)
    await asyncio.to_thread(wait_ready, site.control, deployment, WAIT_S)


def _pods(site: Site) -> list[PodStatus]:
    found: list[PodStatus] = PODS.records(documents(site.control, PODS.path))
    return found


def _are_taken_over(pods: list[PodStatus], before: list[PodStatus]) -> bool:
    """Return whether another pod runner has all pods: it gives them ids of its own."""
    ready = {pod.id for pod in pods if pod.phase is PodPhase.READY}
    return len(ready) == len(pods) == len(before) and ready.isdisjoint(pod.id for pod in before)
