"""The contract of every pod driver: a driver's test module derives from ``DriverContract``."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

import pytest

from broker.storage.pod_logs import LogQuery
from kubefox.digest import RuntimeSpec
from kubefox.errors import NotFound
from pods.base import PodDriver, PodSpec
from pods.logs import PodLogs
from tests.pods import programs

IMAGE = "registry.lab/team/contract@sha256:" + "0f" * 32
"""An image that a driver of a cluster can pull."""


class Bundles:
    """Bundles in memory, by hash."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def add(
        self,
        source: str,
        *,
        component: str = "api-server",
        pod: str = "pod-1",
        runtime: RuntimeSpec = programs.RUNTIME,
    ) -> PodSpec:
        """Keep the bundle of a component whose entry file is ``source``; return its pod."""
        digest, data = programs.bundle(source, component, runtime)
        self.held[digest] = data
        return PodSpec(id=pod, app="order-app", component=component, hash=digest, runtime=runtime)

    async def get(self, digest: str) -> bytes:
        if digest not in self.held:
            raise NotFound(f"there is no bundle {digest}")
        return self.held[digest]


class DriverContract(ABC):
    """The behaviour that the reconciler relies on.

    Attributes:
        logs: Reads the output of the pods of the driver that is open.
    """

    logs: PodLogs

    @abstractmethod
    def open_driver(self, bundles: Bundles, *, grace_s: float = 30) -> PodDriver:
        """Return a driver that gets code from ``bundles`` and runs ``programs.COMMAND``."""

    async def wait_followed(self) -> None:
        """Return when the reader that follows a pod would miss none of its lines."""
        await asyncio.sleep(0)

    @pytest.fixture
    def bundles(self) -> Bundles:
        return Bundles()

    @pytest.fixture
    async def driver(self, bundles: Bundles) -> AsyncIterator[PodDriver]:
        async with self.open_driver(bundles) as driver:
            yield driver

    async def test_a_pod_is_ready_when_it_writes_to_the_ready_pipe(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        async with driver.run(bundles.add(programs.GOOD)) as pod:
            assert await pod.wait_ready()

    async def test_a_pod_whose_component_names_an_image_runs_its_code(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.GOOD, runtime=RuntimeSpec(image=IMAGE))

        async with driver.run(spec) as pod:
            assert await pod.wait_ready()

        assert pod.end.is_clean

    async def test_leaving_the_context_drains_the_pod(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        async with driver.run(bundles.add(programs.GOOD)) as pod:
            await pod.wait_ready()

        await pod.wait_gone()
        assert pod.end.is_clean

    async def test_a_pod_that_does_not_drain_is_killed_after_the_grace_time(
        self, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.STUBBORN)

        async with self.open_driver(bundles, grace_s=0.1) as driver, driver.run(spec) as pod:
            await pod.wait_ready()

        assert not pod.end.is_clean
        assert "did not stop within 0.1 s" in pod.end.message

    async def test_the_end_of_a_pod_that_was_never_ready_has_a_reason(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        async with driver.run(bundles.add(programs.BROKEN)) as pod:
            is_ready = await pod.wait_ready()
            await pod.wait_gone()

        assert not is_ready
        assert not pod.end.is_clean
        assert "no such table: orders" in pod.end.message

    async def test_the_output_of_a_pod_is_read_and_followed_over_its_end(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.TALKATIVE)
        async with driver.run(spec) as pod:
            assert await pod.wait_ready()
            (placed,) = [line async for line in self.logs.read(LogQuery(deployment="v1"))]
            following = self.logs.read(LogQuery(pod=spec.id, tail=1, follow=True))
            last = await anext(following)
            farewell = asyncio.ensure_future(anext(following))
            # So that its stream is open, if it has one.
            await self.wait_followed()
        said = await farewell
        await following.aclose()

        assert (placed.fields["message"], last.line, said.line) == ("placed", "ready", "farewell")
        assert (placed.pod, placed.app, placed.component) == (spec.id, spec.app, spec.component)
        assert {line.hash for line in (placed, last, said)} == {spec.hash}

    async def test_a_killed_pod_is_gone(self, driver: PodDriver, bundles: Bundles) -> None:
        async with driver.run(bundles.add(programs.STUBBORN)) as pod:
            await pod.wait_ready()
            pod.kill()
            await pod.wait_gone()

        assert not pod.end.is_clean

    async def test_killing_a_pod_that_has_ended_has_no_effect(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        async with driver.run(bundles.add(programs.BROKEN)) as pod:
            await pod.wait_gone()
            pod.kill()

        assert "no such table" in pod.end.message

    async def test_cancelling_the_drain_kills_the_pod(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        ready = asyncio.Event()

        async def serve() -> None:
            async with driver.run(bundles.add(programs.STUBBORN)) as pod:
                await pod.wait_ready()
                ready.set()
                await asyncio.Event().wait()

        serving = asyncio.create_task(serve())
        await ready.wait()
        serving.cancel()
        await asyncio.sleep(0)
        serving.cancel()

        with pytest.raises(asyncio.CancelledError):
            await serving

    async def test_a_cancelled_start_leaves_no_pod(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.GOOD)

        async def serve() -> None:
            async with driver.run(spec) as pod:
                await pod.wait_gone()

        for steps in range(6):
            serving = asyncio.create_task(serve())
            for _ in range(steps):
                await asyncio.sleep(0)
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving

    async def test_several_pods_run_at_the_same_time(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        first = bundles.add(programs.GOOD, component="api-server", pod="pod-1")
        second = bundles.add(programs.GOOD, component="order-worker", pod="pod-2")

        async with driver.run(first) as one, driver.run(second) as two:
            assert all(await asyncio.gather(one.wait_ready(), two.wait_ready()))
            one.kill()
            await one.wait_gone()

        assert two.end.is_clean

    async def test_garbage_collection_keeps_used_versions_and_removed_ones_can_run_again(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        used = bundles.add(programs.GOOD)
        unused = bundles.add(programs.GOOD + "# another")
        for spec in (used, unused):
            async with driver.run(spec):
                pass
        del bundles.held[used.hash]

        await driver.collect_garbage(frozenset({used.hash}))

        for spec in (used, unused):
            async with driver.run(spec) as pod:
                assert await pod.wait_ready()

    async def test_a_pod_without_its_bundle_is_refused(self, driver: PodDriver) -> None:
        spec = PodSpec(id="pod-1", app="order-app", component="api-server", hash="f" * 32)

        with pytest.raises(NotFound, match="no bundle ffff"):
            async with driver.run(spec):
                raise AssertionError("it runs")
