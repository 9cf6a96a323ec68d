"""Control reads the logs of all pod runners, and has their unused files removed, over NATS."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from broker.dispatch.pod_runners import PodRunners
from broker.nats.client import LEAST_PAYLOAD_BYTES
from broker.storage.pod_logs import LogQuery
from kubefox.pod import LogLine, RunnerStatus
from pods.base import PodSpec
from pods.logs import LINES_PER_POD, LogReader, PodLogs, open_logs
from pods.runner_server import serve_runner
from tests.pods.platform import Platform, open_platform
from tests.support.nats import NatsServer

API = PodSpec(id="api-1", app="shop", component="api", hash="a" * 32)
WEB = PodSpec(id="web-1", app="shop", component="web", hash="b" * 32)


class Runner:
    """A pod runner that runs no pods.

    Attributes:
        logs: Lines that its pods have written.
        collections: How often its files were collected.
    """

    def __init__(self, logs: PodLogs) -> None:
        self.logs = logs
        self.collections = 0

    async def collect_files(self) -> None:
        self.collections += 1


@contextlib.asynccontextmanager
async def running(platform: Platform, folder: Path, name: str) -> AsyncIterator[Runner]:
    async with open_logs(folder / name) as logs:
        runner = Runner(logs)
        async with serve_runner(platform.bus, name, logs, runner.collect_files):
            status = RunnerStatus(name=name)
            await platform.board.publish(status)
            await platform.board.wait_runner(status)
            yield runner


@pytest.fixture
def runners(platform: Platform) -> PodRunners:
    return PodRunners(platform.bus, platform.board)


async def read(runners: PodRunners, query: LogQuery) -> list[str]:
    return [line.line async for line in runners.read(query)]


async def test_the_lines_of_all_runners_are_read_in_order_of_time(
    platform: Platform, runners: PodRunners, tmp_path: Path
) -> None:
    async with running(platform, tmp_path, "one") as one, running(platform, tmp_path, "two") as two:
        one.logs.write(API, ["1"])
        two.logs.write(WEB, ["2"])
        one.logs.write(API, ["3"])

        assert await read(runners, LogQuery()) == ["1", "2", "3"]
        assert await read(runners, LogQuery(component="api", tail=1)) == ["3"]


async def test_many_long_lines_are_read_whole(
    platform: Platform, runners: PodRunners, tmp_path: Path
) -> None:
    lines = [f"{number}{'x' * 10_000}" for number in range(200)]
    async with running(platform, tmp_path, "one") as one:
        one.logs.write(API, lines)

        assert await read(runners, LogQuery(tail=1000)) == lines


async def test_answers_with_short_lines_fit_into_the_messages_of_any_server(tmp_path: Path) -> None:
    folder = tmp_path / "nats"
    folder.mkdir()
    pods = [msgspec.structs.replace(API, id=f"api-{number}") for number in range(20)]
    with NatsServer(folder, f"max_payload: {LEAST_PAYLOAD_BYTES}") as server:
        async with (
            open_platform(server.url, tmp_path / "data") as platform,
            running(platform, tmp_path, "one") as one,
        ):
            for pod in pods:
                one.logs.write(pod, ["x"] * LINES_PER_POD)

            lines = await read(
                PodRunners(platform.bus, platform.board), LogQuery(tail=LINES_PER_POD)
            )

    assert len(lines) == len(pods) * LINES_PER_POD


async def test_new_lines_are_followed_also_of_a_runner_that_starts_later(
    platform: Platform, runners: PodRunners, tmp_path: Path
) -> None:
    async with running(platform, tmp_path, "one") as one:
        one.logs.write(API, ["before"])
        lines = runners.read(LogQuery(follow=True))
        first = await anext(lines)
        one.logs.write(API, ["after"])
        second = await anext(lines)
        async with running(platform, tmp_path, "two") as two:
            two.logs.write(WEB, ["of another"])
            third = await anext(lines)
        await lines.aclose()

    assert [line.line for line in (first, second, third)] == ["before", "after", "of another"]
    assert first == LogLine(
        pod="api-1", app="shop", component="api", hash="a" * 32, line="before", at_s=first.at_s
    )


async def test_a_runner_that_is_gone_is_left_out(
    platform: Platform, runners: PodRunners, tmp_path: Path
) -> None:
    gone = RunnerStatus(name="gone")
    await platform.board.publish(gone)
    await platform.board.wait_runner(gone)
    async with running(platform, tmp_path, "one") as one:
        one.logs.write(API, ["there"])

        assert await read(runners, LogQuery()) == ["there"]
        await runners.collect_garbage(frozenset())

    assert one.collections == 1


async def test_a_request_that_cannot_be_read_is_counted_and_the_next_one_answered(
    platform: Platform, runners: PodRunners, tmp_path: Path
) -> None:
    async with running(platform, tmp_path, "one") as one:
        await platform.bus.publish("pods.runner.one", b"\xc1", "no-subscriber")
        one.logs.write(API, ["there"])

        assert await read(runners, LogQuery()) == ["there"]
    assert platform.bus.malformed.count == 1


class Kept:
    """The lines that a cluster keeps; a ``pods.log_source.LogSource``."""

    def __init__(self, *texts: str) -> None:
        self._lines = [
            LogLine(pod="api-1", app="shop", component="api", hash="a" * 32, line=text, at_s=at_s)
            for at_s, text in enumerate(texts, 1_000)
        ]

    def open_reader(self, query: LogQuery) -> LogReader:
        lines = list(filter(query.matches, self._lines))
        return LogReader(query, lines, 1000, lambda _reader: None)


async def test_a_follower_gets_each_line_once_when_another_process_has_the_same_ones(
    platform: Platform, runners: PodRunners, tmp_path: Path
) -> None:
    async with running(platform, tmp_path, "one") as one:
        with one.logs.read_from(Kept("1", "2")):
            lines = runners.read(LogQuery(follow=True))
            before = [await anext(lines), await anext(lines)]
            reading = asyncio.ensure_future(anext(lines))
            await asyncio.sleep(0)
    async with running(platform, tmp_path, "one") as successor:
        with successor.logs.read_from(Kept("1", "2", "3")):
            after = await reading
    await lines.aclose()

    assert [line.line for line in (*before, after)] == ["1", "2", "3"]


async def test_output_that_cannot_be_read_is_told_before_the_lines(
    platform: Platform, runners: PodRunners, tmp_path: Path
) -> None:
    told = LogLine(pod="", component="", hash="", line="it is away", is_notice=True)
    kept = Kept("1")
    kept._lines.append(told)
    async with running(platform, tmp_path, "one") as one:
        with one.logs.read_from(kept):
            assert await read(runners, LogQuery()) == ["it is away", "1"]
