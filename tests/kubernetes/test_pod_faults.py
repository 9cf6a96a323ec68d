"""Why pods of a real API do not start, as ``fox get pods`` shows it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest

from kubefox.errors import InternalError
from pods.base import PodReport, PodSpec
from pods.kubernetes.driver import KubernetesDriver
from pods.kubernetes.replica import Replica
from tests.kubernetes.account import RULES, make_account
from tests.kubernetes.lab_driver import LabDriver
from tests.pods import programs
from tests.pods.driver_contract import Bundles
from tests.pods.processes import wait_until

HUNGRY = (
    programs.READY
    + "import time\n"
    + "taken = bytearray(256 << 20)\n"
    + "while True: time.sleep(1)\n"
)
QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "few"},
    "spec": {"hard": {"pods": "0"}},
}
RANGE = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "large"},
    "spec": {"limits": [{"type": "Container", "min": {"memory": "1Gi"}}]},
}
ON_NODE_B = '{"nodeSelector": {"kubernetes.io/hostname": "node-b"}}'


class Told:
    """The reports of a driver about a pod."""

    def __init__(self, pod: Replica) -> None:
        self.pod = pod
        self.reports: list[PodReport] = []
        pod.listen(self.reports.append)

    @property
    def last(self) -> PodReport:
        return self.reports[-1]

    async def wait(self, condition: Callable[[PodReport], bool]) -> PodReport:
        """Return the first report for which a condition holds."""
        await wait_until(lambda: any(map(condition, self.reports)))
        return next(filter(condition, self.reports))

    async def wait_fault(self, text: str) -> PodReport:
        """Return the first report whose fault begins with a text."""
        return await self.wait(lambda report: report.fault.startswith(text))


class TestFaults(LabDriver):
    @pytest.fixture
    def bundles(self) -> Bundles:
        return Bundles()

    @contextlib.asynccontextmanager
    async def told(
        self, bundles: Bundles, source: str = programs.GOOD, **settings: Any
    ) -> AsyncIterator[Told]:
        """Run a pod; it is told of until the context ends."""
        spec = bundles.add(source)
        async with self.open_driver(bundles, **settings) as driver, driver.run(spec) as pod:
            yield Told(pod)

    async def test_a_pod_without_room_on_the_nodes(self, bundles: Bundles) -> None:
        async with self.told(bundles, memory_request_bytes=1 << 40) as told:
            report = await told.wait_fault("cannot be scheduled: ")

        assert "0/2 nodes are available: 2 Insufficient memory" in report.fault
        assert (bool(report.name), report.node) == (True, "")

    async def test_an_image_that_cannot_be_pulled(self, bundles: Bundles) -> None:
        image = f"registry.example/shop@sha256:{'0' * 64}"
        async with self.told(bundles, image=image) as told:
            report = await told.wait_fault("cannot start: ImagePullBackOff: ")

        assert f'Back-off pulling image "{image}"' in report.fault
        assert report.node in {"node-a", "node-b"}

    async def test_a_quota_that_is_used_up_until_there_is_more(self, bundles: Bundles) -> None:
        await asyncio.to_thread(self.cluster.apply, self.namespace, QUOTA)
        await asyncio.to_thread(self.cluster.wait, self.has_quota)
        async with self.told(bundles) as told:
            report = await told.wait_fault("cannot be created: ")
            scope = ("--namespace", self.namespace)
            await asyncio.to_thread(self.cluster.kubectl, "delete", "quota", "few", *scope)
            assert await told.pod.wait_ready()

        assert "is forbidden: exceeded quota: few, requested: pods=1" in report.fault
        assert (report.name, report.node) == ("", "")
        assert not told.last.fault
        assert told.last.name == told.pod.name

    async def test_a_policy_that_refuses_the_pod(self, bundles: Bundles) -> None:
        await asyncio.to_thread(self.cluster.apply, self.namespace, RANGE)
        async with self.told(bundles) as told:
            report = await told.wait_fault("cannot be created: ")

        assert "is forbidden: minimum memory usage per Container is 1Gi" in report.fault

    async def test_a_container_that_ends_again_and_again(self, bundles: Bundles) -> None:
        spec = bundles.add(programs.BROKEN)
        async with self.open_driver(bundles) as driver:
            async with driver.run(spec) as pod:
                assert not await pod.wait_ready()
            fault = await self.fault_of_next_run(driver, spec)

        assert pod.end.message == "exited with code 1: RuntimeError: no such table: orders"
        assert fault == f"{pod.end.message}; Kubernetes starts it again later (CrashLoopBackOff)"

    async def fault_of_next_run(self, driver: KubernetesDriver, spec: PodSpec) -> str:
        """Return the fault of a pod that waits to be started again."""
        while True:
            async with driver.run(spec) as pod:
                told = Told(pod)
                waiting = asyncio.ensure_future(pod.wait_gone())
                fault = asyncio.ensure_future(told.wait(lambda report: bool(report.fault)))
                await asyncio.wait((waiting, fault), return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if fault.done():
                    return fault.result().fault
                fault.cancel()

    async def test_a_container_that_needs_too_much_memory(self, bundles: Bundles) -> None:
        async with self.told(bundles, HUNGRY, memory_bytes=160 << 20) as told:
            await told.pod.wait_gone()

        assert told.pod.end.message == "was killed because it exceeded its memory limit"

    async def test_a_deployment_that_the_api_server_refuses(self, bundles: Bundles) -> None:
        rules = [
            {**rule, "verbs": [verb for verb in rule["verbs"] if verb != "create"]}
            if rule["resources"] == ["deployments"]
            else rule
            for rule in RULES
        ]
        token = await asyncio.to_thread(
            make_account, self.cluster, self.namespace, rules, "without"
        )
        self.login = msgspec.structs.replace(self.login, token=token)

        with pytest.raises(
            InternalError, match=r"cannot be applied: deployments\.apps .* is forbidden"
        ):
            async with self.told(bundles):
                raise AssertionError("it runs")

    async def test_a_node_that_does_not_answer_and_comes_back(self, bundles: Bundles) -> None:
        async with self.told(bundles, template=ON_NODE_B) as told:
            assert await told.pod.wait_ready()
            with self.silent("node-b"):
                lost = await told.wait(lambda report: report.is_lost)
            await wait_until(lambda: not told.last.is_lost)
            is_gone = told.pod.is_gone

        assert lost.fault == "is on node node-b, which does not answer"
        assert lost.node == told.last.node == "node-b"
        assert not told.last.fault
        assert not is_gone
        assert told.pod.end.is_clean

    def has_quota(self) -> bool:
        """Return whether Kubernetes has taken the quota over: until then its refusal is another."""
        (quota,) = self.cluster.get(self.namespace, "resourcequotas")
        return bool(quota.get("status", {}).get("hard"))

    @contextlib.contextmanager
    def silent(self, node: str) -> Iterator[None]:
        """Stop the agent of a node, but not its pods, while the context lasts."""
        agent = self.cluster.agents[node]
        agent.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            agent.send_signal(signal.SIGCONT)
