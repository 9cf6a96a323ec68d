"""Idle pods are not asked for figures, and no count is lost by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest

from broker.nats.bus import Bus
from broker.telemetry import collector as collecting
from broker.telemetry.collected import Totals
from broker.telemetry.collector import Collector, open_collector
from fox import Context, Kit
from kubefox import subjects
from tests.broker.telemetry.world import TelemetryWorld, open_telemetry_world
from tests.support.nats import NatsServer

DEPLOYMENTS = [f"v{number}" for number in range(5)]


def echo() -> Kit:
    """Return a component that answers."""
    kit = Kit()

    @kit.route("Path(`/`)")
    async def serve(_ctx: Context) -> str:
        return "ok"

    return kit


class IdlePods:
    """A world with a pod of each deployment.

    Attributes:
        world: The platform.
        pods: Connection of each deployment's pod.
    """

    def __init__(self, world: TelemetryWorld, pods: dict[str, Bus]) -> None:
        self.world = world
        self.pods = pods

    def listening(self) -> set[str]:
        """Return the deployments whose pods are asked for figures by the regular requests."""
        return {
            name
            for name, bus in self.pods.items()
            if subjects.FIGURES in {found.subject for found in bus._client._subs.values()}
        }

    def another_collector(self) -> AbstractAsyncContextManager[Collector]:
        """Collect as a second control process does."""
        return open_collector(self.world.plane.broker.bus, self.world.collector._board)

    async def pull_until(self, listening: set[str]) -> None:
        """Request figures until only these pods are asked."""
        while self.listening() != listening:
            await self.world.collector.pull()

    async def wait_handled(self, collector: Collector, deployment: str, count: int) -> None:
        """Request figures until they show so many events of a deployment."""
        while handled(await collector.pull(), deployment) != count:
            pass


def handled(totals: Totals, deployment: str) -> int:
    """Return how many events the component has handled in a deployment."""
    return sum(
        durations.count
        for labels, series in totals.series.items()
        if (labels.component, labels.deployment) == ("echo", deployment)
        for durations in series.by_class.values()
    )


@pytest.fixture
async def idle(own_nats_server: NatsServer) -> AsyncIterator[IdlePods]:
    async with open_telemetry_world(own_nats_server.url, trace_ratio=0.0) as world:
        pods = {}
        for name in DEPLOYMENTS:
            await world.plane.deploy(name, {"echo": echo()}, name)
            pods[name], _ = await world.plane.start("echo", echo(), name, reports_telemetry=True)
        yield IdlePods(world, pods)


async def test_a_pod_is_asked_for_figures_from_its_first_event_until_it_is_idle(
    idle: IdlePods,
) -> None:
    assert idle.listening() == set(DEPLOYMENTS)
    await idle.pull_until(set())

    await idle.world.get("/", "v3")

    assert idle.listening() == {"v3"}
    await idle.wait_handled(idle.world.collector, "v3", 1)
    await idle.pull_until(set())


async def test_every_event_is_counted_whether_its_pod_rests_or_not(idle: IdlePods) -> None:
    for count in range(1, 7):
        if count % 2:
            await idle.pull_until(set())
        await idle.world.get("/", "v1")

        await idle.wait_handled(idle.world.collector, "v1", count)


async def test_a_new_collector_has_the_figures_of_idle_pods(idle: IdlePods) -> None:
    await idle.world.get("/", "v1")
    await idle.pull_until(set())

    async with idle.another_collector() as restarted:
        await idle.wait_handled(restarted, "v1", 1)
    assert idle.listening() == set()


async def test_idle_pods_are_asked_from_time_to_time(
    idle: IdlePods, monkeypatch: pytest.MonkeyPatch
) -> None:
    await idle.world.get("/", "v1")
    await idle.pull_until(set())
    async with idle.another_collector() as restarted:
        # As if the answer to its first request had been lost.
        restarted._pulls = 1

        monkeypatch.setattr(collecting, "ALL_EVERY", 3)

        await idle.wait_handled(restarted, "v1", 1)
    assert restarted._pulls > 2
    assert idle.listening() == set()


async def test_pods_that_were_reconnected_are_asked_again(
    idle: IdlePods, own_nats_server: NatsServer
) -> None:
    await idle.pull_until(set())

    await asyncio.to_thread(own_nats_server.restart)

    while idle.listening() != set(DEPLOYMENTS):
        await asyncio.sleep(0.005)
