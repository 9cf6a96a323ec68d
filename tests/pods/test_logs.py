import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.storage.pod_logs import LogQuery
from kubefox.pod import LogLine
from pods.base import PodSpec
from pods.log_files import LogFiles
from pods.logs import LINES_PER_POD, PodLogs, open_logs
from tests.pods.folders import names
from tests.pods.processes import wait_until

API = PodSpec(id="api-server-1", app="order-app", component="api-server", hash="a" * 32)
WORKER = PodSpec(id="order-worker-1", app="order-app", component="order-worker", hash="b" * 32)


@pytest.fixture
async def pod_logs(tmp_path: Path) -> AsyncIterator[PodLogs]:
    async with open_logs(tmp_path / "logs") as opened:
        yield opened


async def read(pod_logs: PodLogs, query: LogQuery) -> list[str]:
    return [line.line async for line in pod_logs.read(query)]


async def test_a_line_names_its_pod(pod_logs: PodLogs) -> None:
    pod_logs.write(API, ["hello"])

    (line,) = [line async for line in pod_logs.read(LogQuery())]

    assert line == LogLine(
        pod="api-server-1",
        app="order-app",
        component="api-server",
        hash="a" * 32,
        line="hello",
        at_s=line.at_s,
    )


async def test_lines_of_several_pods_come_in_order_of_time(pod_logs: PodLogs) -> None:
    pod_logs.write(API, ["1"])
    pod_logs.write(WORKER, ["2"])
    pod_logs.write(API, ["3"])

    assert await read(pod_logs, LogQuery()) == ["1", "2", "3"]


async def test_a_query_filters_by_component_and_by_pod(pod_logs: PodLogs) -> None:
    pod_logs.write(API, ["from the api"])
    pod_logs.write(WORKER, ["from the worker"])

    assert await read(pod_logs, LogQuery(component="api-server")) == ["from the api"]
    assert await read(pod_logs, LogQuery(pod="order-worker-1")) == ["from the worker"]
    assert await read(pod_logs, LogQuery(component="api-server", pod="order-worker-1")) == []


async def test_the_tail_counts_for_each_pod(pod_logs: PodLogs) -> None:
    pod_logs.write(API, ["1", "2", "3"])
    pod_logs.write(WORKER, ["4"])

    assert await read(pod_logs, LogQuery(tail=2)) == ["2", "3", "4"]
    assert await read(pod_logs, LogQuery(tail=0)) == []


async def test_a_follower_gets_the_tail_and_then_each_new_line_once(
    pod_logs: PodLogs,
) -> None:
    pod_logs.write(API, ["before"])
    reader = pod_logs.read(LogQuery(component="api-server", follow=True))

    assert (await anext(reader)).line == "before"
    pod_logs.write(WORKER, ["of another"])
    pod_logs.write(API, ["after", "and more"])

    assert [(await anext(reader)).line for _ in range(2)] == ["after", "and more"]


async def test_a_follower_waits_for_the_first_line_of_a_new_pod(
    pod_logs: PodLogs,
) -> None:
    reader = pod_logs.read(LogQuery(follow=True))
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)

    pod_logs.write(API, ["hello"])

    assert (await waiting).line == "hello"


async def test_a_closed_reader_is_removed(pod_logs: PodLogs) -> None:
    pod_logs.write(API, ["hello"])
    reader = pod_logs.read(LogQuery(follow=True))
    await anext(reader)

    await reader.aclose()

    assert not pod_logs._readers


async def test_memory_keeps_only_the_latest_lines_of_a_pod(pod_logs: PodLogs) -> None:
    pod_logs.write(API, [str(number) for number in range(LINES_PER_POD + 5)])

    lines = await read(pod_logs, LogQuery(tail=10**6))

    assert len(lines) == LINES_PER_POD
    assert lines[0] == "5"


async def test_memory_drops_the_pod_that_has_been_silent_longest(tmp_path: Path) -> None:
    pod_logs = PodLogs(LogFiles(tmp_path), max_pods=1)
    pod_logs.write(API, ["old"])

    pod_logs.write(WORKER, ["new"])

    assert await read(pod_logs, LogQuery()) == ["new"]


async def test_closing_the_logs_flushes_the_files(tmp_path: Path) -> None:
    async with open_logs(tmp_path / "logs") as pod_logs:
        pod_logs.write(API, ["one", "two"])

    assert (tmp_path / "logs" / "api-server-1.log").read_text() == "one\ntwo\n"


async def test_log_files_rotate_at_their_size_limit(tmp_path: Path) -> None:
    files = LogFiles(tmp_path, file_bytes=100)

    for number in range(50):
        files.append("api", [f"line {number:03}"])
        await files.flush()

    written = {name: (tmp_path / name).read_text() for name in names(tmp_path)}
    assert written.keys() == {"api.log", "api.log.1"}
    assert all(len(text) <= 100 for text in written.values())
    assert (written["api.log.1"] + written["api.log"]).endswith("line 048\nline 049\n")


async def test_lines_over_the_pending_limit_are_dropped_and_counted_in_the_file(
    tmp_path: Path,
) -> None:
    files = LogFiles(tmp_path, pending_bytes=10)

    files.append("api", ["1234567"])
    files.append("api", ["too", "much"])
    await files.flush()

    text = (tmp_path / "api.log").read_text()
    assert text == "1234567\n… 2 lines were dropped: too many at once\n"


async def test_a_folder_that_cannot_be_written_is_reported_once_and_lines_stay_readable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").write_text("in the way")

    async with open_logs(tmp_path / "logs") as pod_logs:
        pod_logs.write(API, ["one"])
        await pod_logs._files.flush()
        pod_logs.write(API, ["two"])
        assert await read(pod_logs, LogQuery()) == ["one", "two"]

    (record,) = caplog.records
    assert "File exists" in record.message


async def test_writing_goes_on_when_an_old_file_cannot_be_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "folder.log").mkdir()
    os.utime(tmp_path / "folder.log", (0, 0))
    (tmp_path / "newer.log").write_text("x")

    files = LogFiles(tmp_path, max_files=1)
    running = asyncio.create_task(files.run())
    files.append("api", ["one"])
    await wait_until((tmp_path / "api.log").exists)
    running.cancel()

    assert "directory" in caplog.text


async def test_old_files_are_removed_at_the_start_and_with_each_new_file(
    tmp_path: Path,
) -> None:
    for number in range(4):
        file = tmp_path / f"pod-{number}.log"
        file.write_text("x")
        os.utime(file, (number, number))

    files = LogFiles(tmp_path, max_files=2)
    running = asyncio.create_task(files.run())
    await wait_until(lambda: names(tmp_path) == {"pod-2.log", "pod-3.log"})
    files.append("api", ["of a new pod"])
    await wait_until(lambda: names(tmp_path) == {"pod-3.log", "api.log"})
    running.cancel()


async def test_a_query_filters_by_deployment_and_virtual_environment(pod_logs: PodLogs) -> None:
    v1 = '{"message": "one", "deployment": "v1", "virtual_environment": "live"}'
    v2 = '{"message": "two", "deployment": "v2", "virtual_environment": "live"}'
    pod_logs.write(API, [v1, "printed", '{"no JSON', v2, v1])

    assert await read(pod_logs, LogQuery(deployment="v1")) == [v1, v1]
    assert await read(pod_logs, LogQuery(deployment="v1", tail=1)) == [v1]
    assert await read(pod_logs, LogQuery(virtual_environment="live")) == [v1, v2, v1]
    assert await read(pod_logs, LogQuery(deployment="v2", virtual_environment="test")) == []
    assert len(await read(pod_logs, LogQuery())) == 5


async def test_a_follower_of_one_deployment_gets_no_lines_of_others(pod_logs: PodLogs) -> None:
    line = '{"deployment": "v1"}'
    reader = pod_logs.read(LogQuery(deployment="v1", follow=True, tail=0))
    first = asyncio.ensure_future(anext(reader))
    await wait_until(lambda: bool(pod_logs._readers))

    pod_logs.write(API, ["other"])
    pod_logs.write(API, [line])

    assert (await first).line == line
    await reader.aclose()


async def test_a_query_filters_by_time(pod_logs: PodLogs) -> None:
    pod_logs.write(API, ["old"])
    (old,) = [line async for line in pod_logs.read(LogQuery())]

    assert await read(pod_logs, LogQuery(since_s=old.at_s)) == ["old"]
    assert await read(pod_logs, LogQuery(since_s=old.at_s + 1)) == []
