"""What a driver tells of a pod is shown in the pod's status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from kubefox.pod import PodPhase, PodStatus
from pods.base import HasReplica, PodEnd, PodReport, PodSpec, has_no_replica
from pods.start_slots import StartSlots
from pods.supervisor import PodDependencies, PodSupervisor
from tests.pods.processes import wait_until

SPEC = PodSpec(id="api-1", app="shop", component="api", hash="a" * 32)
FIRST = PodStatus(id="api-1", app="shop", component="api", hash="a" * 32, phase=PodPhase.STARTING)
LOST = PodReport(
    name="api-x", node="n-1", fault="is on node n-1, which does not answer", is_lost=True
)
WELL = PodReport(name="api-x", node="n-1")


class ToldPod:
    """A pod of which a test tells."""

    pid = None
    name = "api-x"
    end = PodEnd(message="has ended", is_clean=True)

    def __init__(self) -> None:
        self.tell: Callable[[PodReport], None] = lambda _report: None
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()

    def listen(self, on_report: Callable[[PodReport], None]) -> None:
        self.tell = on_report

    async def wait_ready(self) -> bool:
        await self.ready.wait()
        return True

    async def wait_gone(self) -> None:
        await self.gone.wait()

    def kill(self) -> None:
        self.gone.set()


class ToldPods:
    """A driver that runs one pod."""

    def __init__(self) -> None:
        self.pod = ToldPod()

    @contextlib.asynccontextmanager
    async def run(
        self, _spec: PodSpec, _has_replica: HasReplica = has_no_replica
    ) -> AsyncIterator[ToldPod]:
        yield self.pod


class Supervised:
    """A supervised pod, and all of its statuses."""

    def __init__(self, start_deadline_s: float) -> None:
        self.statuses = [FIRST]
        driver = ToldPods()
        self.pod = driver.pod
        self.supervisor = PodSupervisor(
            FIRST,
            lambda _status: SPEC,
            PodDependencies(
                driver=driver,  # type: ignore[arg-type]
                start_slots=StartSlots(1),
                urgency=lambda _version: 0,
                start_deadline_s=start_deadline_s,
                on_status=self.statuses.append,
                announce_gone=self.announce_gone,
                has_replica=lambda _status: False,
            ),
        )

    async def announce_gone(self, _status: PodStatus) -> None:
        """Do nothing."""

    @property
    def last(self) -> PodStatus:
        return self.statuses[-1]


@contextlib.asynccontextmanager
async def supervised(start_deadline_s: float = 60) -> AsyncIterator[Supervised]:
    found = Supervised(start_deadline_s)
    running = asyncio.create_task(found.supervisor.run())
    await wait_until(lambda: found.last.started_at_s > 0)
    await asyncio.sleep(0)
    try:
        yield found
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_pod_that_does_not_start_shows_why_and_where() -> None:
    async with supervised() as found:
        found.pod.tell(PodReport(fault="cannot be created: no quota"))
        refused = found.last
        found.pod.tell(PodReport(name="api-x", node="n-1", restarts=2))
        starting = found.last

    assert (refused.phase, refused.message) == (PodPhase.STARTING, "cannot be created: no quota")
    assert (starting.phase, starting.message) == (PodPhase.STARTING, "")
    assert (starting.name, starting.node, starting.restarts) == ("api-x", "n-1", 2)


async def test_a_pod_is_unknown_while_its_node_does_not_answer() -> None:
    async with supervised() as found:
        found.pod.ready.set()
        await wait_until(lambda: found.last.phase is PodPhase.READY)
        ready_at_s = found.supervisor.ready_at_s
        found.pod.tell(LOST)
        lost, is_recovering = found.last, found.supervisor.is_recovering
        while_lost = found.supervisor.ready_at_s
        found.pod.tell(WELL)
        again = found.last

    assert (lost.phase, lost.message, lost.node) == (PodPhase.UNKNOWN, LOST.fault, "n-1")
    assert is_recovering
    assert while_lost is None
    assert (again.phase, again.message) == (PodPhase.READY, "")
    assert ready_at_s is not None


async def test_the_same_report_changes_no_status() -> None:
    async with supervised() as found:
        found.pod.tell(WELL)
        count = len(found.statuses)
        found.pod.tell(WELL)

    assert len(found.statuses) == count + 1  # It stops, at the end.


async def test_a_pod_that_is_not_ready_in_time_says_what_it_waited_for() -> None:
    async with supervised(start_deadline_s=0.05) as found:
        found.pod.tell(PodReport(fault="cannot be scheduled: no node has room"))
        await wait_until(lambda: found.last.phase is PodPhase.BACK_OFF)

    messages = [status.message for status in found.statuses if status.phase is PodPhase.BACK_OFF]
    assert messages[0] == ("was not ready within 0.05 s: it cannot be scheduled: no node has room")


@pytest.mark.parametrize("phase", [PodPhase.BACK_OFF, PodPhase.STOPPING])
async def test_a_pod_that_ends_is_not_told_of(phase: PodPhase) -> None:
    async with supervised() as found:
        found.pod.ready.set()
        await wait_until(lambda: found.last.phase is PodPhase.READY)
        tell = found.pod.tell
        if phase is PodPhase.BACK_OFF:
            found.pod.gone.set()
            await wait_until(lambda: found.last.phase is PodPhase.BACK_OFF)
            tell(LOST)
    if phase is PodPhase.STOPPING:
        tell(LOST)

    assert PodPhase.UNKNOWN not in {status.phase for status in found.statuses}
