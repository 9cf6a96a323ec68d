"""The output of component pods by the log API of Kubernetes, whatever happens to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import msgspec
import pytest

from broker.storage.pod_logs import LogQuery
from kubefox.pod import LogLine
from tests.kubernetes.account import RULES, make_account
from tests.kubernetes.lab_driver import LabDriver
from tests.pods import programs
from tests.pods.driver_contract import Bundles

# The folder outlives a restart of the container.
FAIL_ONCE = (
    programs.DRAIN
    + "import os, pathlib\n"
    + "marker = pathlib.Path(os.environ['FOX_RUN_FOLDER'], 'marker')\n"
    + "if not marker.exists():\n"
    + "    marker.touch(); print('first'); raise SystemExit('no table')\n"
    + "print('second', flush=True); print('third', flush=True)\n"
    + programs.READY
    + programs.UNTIL_LIFELINE_ENDS
)
COUNT = (
    programs.DRAIN
    + programs.READY
    + "import itertools, time\n"
    + "for number in itertools.count(): print(number, flush=True); time.sleep(0.02)\n"
)


class TestLogs(LabDriver):
    @pytest.fixture
    def bundles(self) -> Bundles:
        return Bundles()

    async def read(self, **query: object) -> list[LogLine]:
        """Return the lines of a query that does not follow."""
        wanted = msgspec.convert(query, LogQuery)
        return [line async for line in self.logs.read(wanted)]

    def follow(self, **query: object) -> AsyncGenerator[LogLine, None]:
        return self.logs.read(msgspec.convert({**query, "follow": True}, LogQuery))

    async def test_the_lines_before_a_restart_come_first(self, bundles: Bundles) -> None:
        spec = bundles.add(FAIL_ONCE)
        async with self.open_driver(bundles) as driver:
            async with driver.run(spec) as pod:
                assert not await pod.wait_ready()
            async with driver.run(spec) as pod:
                assert await pod.wait_ready()
                lines = await self.read(tail=10)
                last = await self.read(tail=1)
                earlier = await self.read(tail=3)
                newer = await self.read(tail=10, since_s=lines[2].at_s)

        assert [line.line for line in lines] == ["first", "no table", "second", "third"]
        assert {line.pod for line in lines} == {spec.id}
        assert last == lines[-1:]
        assert earlier == lines[1:]
        assert newer == lines[2:]

    async def test_pods_that_are_replaced_are_followed_on(self, bundles: Bundles) -> None:
        spec = bundles.add(programs.TALKATIVE)
        async with self.open_driver(bundles) as driver:
            lines = self.follow(tail=0)
            first = asyncio.ensure_future(self.until(lines, lambda got: "ready" in got))
            async with driver.run(spec) as pod:
                await pod.wait_ready()
                await first
                await asyncio.to_thread(
                    self.cluster.kubectl, "delete", "pod", pod.name, "--namespace", self.namespace
                )
                await pod.wait_gone()
            async with driver.run(spec) as pod:
                rest = await self.until(lines, lambda got: "ready" in got and "farewell" in got)
            await lines.aclose()

        assert [line.line for line in await first][1:] == ["ready"]
        # The end of one pod and the start of the next may come in any order.
        assert sorted(line.line for line in rest if line.line[0] != "{") == ["farewell", "ready"]

    async def test_a_follower_goes_on_after_the_api_server_was_away(self, bundles: Bundles) -> None:
        spec = bundles.add(COUNT)
        async with self.open_driver(bundles) as driver, driver.run(spec) as pod:
            assert await pod.wait_ready()
            lines = self.follow(tail=10_000)
            before = await self.until(lines, lambda got: len(got) >= 10)

            await asyncio.to_thread(self.cluster.control_plane.kill_api_server)
            away = await self.until(lines, lambda got: any(line.is_notice for line in got.lines))
            refused = await self.read(tail=1)
            await asyncio.to_thread(self.cluster.control_plane.start_api_server)
            after = await self.until(lines, lambda got: len(got) >= 200)
            await lines.aclose()

        every = [*before, *away, *after]
        told = [line.line for line in every if line.is_notice]
        numbers = [int(line.line) for line in every if not line.is_notice]
        assert told[0].startswith("the output of pods cannot be read, retrying: https://")
        assert numbers == list(range(len(numbers)))
        (fault,) = refused
        assert fault.is_notice
        assert fault.line.startswith("the output of pods cannot be read: https://")

    async def test_the_streams_of_a_reader_end_with_it(self, bundles: Bundles) -> None:
        spec = bundles.add(COUNT)
        async with self.open_driver(bundles) as driver, driver.run(spec) as pod:
            assert await pod.wait_ready()
            lines = self.follow(tail=0)
            await anext(lines)
            during = self.open_streams
            await lines.aclose()
            while self.open_streams:
                await asyncio.sleep(0.01)

        assert during == 1

    async def test_an_account_without_the_right_is_told_so(self, bundles: Bundles) -> None:
        rules = [rule for rule in RULES if rule["resources"] != ["pods/log"]]
        token = await asyncio.to_thread(
            make_account, self.cluster, self.namespace, rules, "without"
        )
        self.login = msgspec.structs.replace(self.login, token=token)
        spec = bundles.add(programs.TALKATIVE)
        async with self.open_driver(bundles) as driver, driver.run(spec) as pod:
            assert await pod.wait_ready()
            (told,) = await self.read()

        assert told.is_notice
        assert f"the output of pod {spec.id} cannot be read: pods" in told.line
        assert 'cannot get resource "pods/log"' in told.line

    async def until(
        self, lines: AsyncGenerator[LogLine, None], is_enough: Callable[[Got], bool]
    ) -> list[LogLine]:
        """Return the next lines as soon as they are enough."""
        got = Got()
        async for line in lines:
            got.lines.append(line)
            if is_enough(got):
                break
        return got.lines


class Got:
    """The lines that have come."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []

    def __len__(self) -> int:
        return len(self.lines)

    def __contains__(self, text: str) -> bool:
        return any(line.line == text for line in self.lines)
