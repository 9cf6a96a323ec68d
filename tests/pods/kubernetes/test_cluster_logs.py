"""How many logs are read at once, how much of them is kept, and what a client is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from broker.storage.pod_logs import LogQuery
from kubefox.distill import Version
from kubefox.pod import LogLine
from pods.kubernetes import cluster_logs as module
from pods.kubernetes.api import open_api
from pods.kubernetes.cluster import Cluster
from pods.kubernetes.cluster_logs import ClusterLogReader, ClusterLogs
from pods.kubernetes.cluster_pod import ClusterPod, ContainerStatus, PodConditions, Running, State
from pods.kubernetes.follow import Meta
from pods.kubernetes.manifests import CONTAINER, labels
from tests.pods.processes import wait_until

PODS = "/api/v1/namespaces/shop/pods"
RUNNING = State(running=Running())


class Node:
    """Serves the logs of pods as the API of a cluster does, and counts them.

    Attributes:
        logs: The output of each pod; one that is followed gets no end.
        refused: Pods whose logs are refused.
        open: Pods whose logs are being followed.
        most: The highest number of logs that were served at once.
        queries: The parameters of each call.
        sent_bytes: How much was sent of logs that are followed.
        release: Ends the logs that are followed.
        tails: Cleared while logs that are not followed have to wait.
    """

    def __init__(self) -> None:
        self.logs: dict[str, bytes] = {}
        self.refused: dict[str, tuple[int, str]] = {}
        self.open: list[str] = []
        self.most = 0
        self.sent_bytes = 0
        self.queries: list[dict[str, str]] = []
        self.release = asyncio.Event()
        self.tails = asyncio.Event()
        self.tails.set()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        pod = request.path.split("/")[-2]
        self.queries.append(dict(request.query))
        if pod in self.refused:
            status, message = self.refused[pod]
            return web.json_response({"message": message, "code": status}, status=status)
        self.open.append(pod)
        self.most = max(self.most, len(self.open))
        try:
            return await self._send(request, self.logs.get(pod, b""))
        finally:
            self.open.remove(pod)

    async def _send(self, request: web.BaseRequest, log: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if request.query.get("follow") != "true":
            await self.tails.wait()
            await response.write(log)
            return response
        for at in range(0, len(log), 1 << 16):
            await response.write(log[at : at + (1 << 16)])
            self.sent_bytes += 1 << 16
        await self.release.wait()
        return response


def pod(
    name: str, state: State = RUNNING, *, restarts: int = 0, component: str = "api"
) -> ClusterPod:
    own = labels(Version("shop", component, "a" * 32))
    container = ContainerStatus(CONTAINER, restart_count=restarts, state=state)
    return ClusterPod(
        metadata=Meta(name=name, uid=name, labels=own),
        status=PodConditions(container_statuses=[container]),
    )


def log(*texts: str, second: int = 0) -> bytes:
    return "".join(
        f"2026-12-01T10:00:{second:02}.{at:09}Z {text}\n" for at, text in enumerate(texts)
    ).encode()


class Logs(ClusterLogs):
    """The logs of a scripted node."""

    node: Node


@pytest.fixture
async def logs() -> AsyncIterator[Logs]:
    node = Node()
    runner = web.ServerRunner(
        web.Server(node.answer, handler_cancellation=True), shutdown_timeout=0.01
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    listed = asyncio.Event()
    listed.set()
    try:
        async with open_api(Cluster(server=f"http://{host}:{port}", namespace="shop")) as api:
            made = Logs(api, PODS, listed, lambda pod: f"{pod.metadata.name}-id")
            made.node = node
            yield made
            await made.close()
    finally:
        node.release.set()
        await runner.cleanup()


async def read(logs: ClusterLogs, query: LogQuery) -> list[LogLine]:
    """Return all lines of a query that does not follow."""
    lines: list[LogLine] = []
    reader = logs.open_reader(query)
    while not reader.is_done:
        await reader.wait()
        lines += reader.drain()
    return lines


async def next_lines(reader: ClusterLogReader, count: int) -> list[LogLine]:
    lines: list[LogLine] = []
    async with asyncio.timeout(30):
        while len(lines) < count:
            await reader.wait()
            lines += reader.drain()
    return lines


async def test_the_latest_lines_of_all_pods_come_in_order_of_time(logs: Logs) -> None:
    logs.node.logs = {"api-1": log("1", second=1) + log("3", second=3), "api-2": log("2", second=2)}
    for name in logs.node.logs:
        logs.on_pod(pod(name))

    lines = await read(logs, LogQuery(tail=7))

    assert [(line.pod, line.line) for line in lines] == [
        ("api-1-id", "1"),
        ("api-2-id", "2"),
        ("api-1-id", "3"),
    ]
    assert {query["tailLines"] for query in logs.node.queries} == {"7"}
    assert (lines[0].app, lines[0].component, lines[0].hash) == ("shop", "api", "a" * 32)


async def test_only_the_pods_that_a_query_selects_are_read(logs: Logs) -> None:
    logs.on_pod(pod("api-1"))
    logs.on_pod(pod("ui-1", component="ui"))
    logs.on_pod(pod("api-new", State()))

    await read(logs, LogQuery(component="api"))
    await read(logs, LogQuery(pod="ui-1-id"))

    assert len(logs.node.queries) == 2


async def test_lines_of_a_deployment_are_looked_for_in_more_lines_than_are_shown(
    logs: Logs,
) -> None:
    logs.node.logs["api-1"] = log('{"deployment": "v1", "n": 1}', '{"deployment": "v1"}', "other")
    logs.on_pod(pod("api-1"))

    lines = await read(logs, LogQuery(deployment="v1", tail=1))

    assert [line.line for line in lines] == ['{"deployment": "v1"}']
    assert logs.node.queries[0]["tailLines"] == "1000"


async def test_no_more_logs_are_open_at_once_than_allowed(logs: Logs) -> None:
    names = [f"api-{number:02}" for number in range(module.MAX_STREAMS + 10)]
    for name in names:
        logs.node.logs[name] = log(name)
        logs.on_pod(pod(name))

    logs.node.tails.clear()
    reading = asyncio.create_task(read(logs, LogQuery(tail=1)))
    await wait_until(lambda: len(logs.node.open) == module.TAILS_AT_ONCE)
    logs.node.tails.set()
    lines = await reading
    most_tails = logs.node.most
    reader = logs.open_reader(LogQuery(tail=0, follow=True))
    (told,) = [line for line in await next_lines(reader, 1) if line.is_notice]
    await wait_until(lambda: len(logs.node.open) == module.MAX_STREAMS)
    second = logs.open_reader(LogQuery(component="api", tail=0, follow=True))
    (also_told,) = await next_lines(second, 1)

    assert len(lines) == len(names)
    assert most_tails == module.TAILS_AT_ONCE
    assert told.line == also_told.line
    assert told.line.startswith(f"{module.MAX_STREAMS} pods are followed at once, and others later")
    assert logs.open_streams == module.MAX_STREAMS

    reader.close()
    second.close()
    await wait_until(lambda: not logs.node.open)
    assert logs.open_streams == 0


@pytest.mark.parametrize("text", ["x" * 1000, ""], ids=["long lines", "empty lines"])
async def test_a_client_that_reads_nothing_holds_its_logs_up(logs: Logs, text: str) -> None:
    size = 64 << 20
    logs.node.logs["api-1"] = log(text) * (size // len(log(text)))
    logs.on_pod(pod("api-0", State()))
    reader = logs.open_reader(LogQuery(follow=True))
    await asyncio.sleep(0)
    logs.on_pod(pod("api-1"))
    await wait_until(lambda: reader._bytes >= module.WAITING_BYTES)
    stopped = logs.node.sent_bytes

    # As much as fits into the buffers of the connection, and no more.
    for _ in range(20):
        await asyncio.sleep(0.01)
    waiting = reader._bytes
    lines = await next_lines(reader, 10_000)

    assert waiting < 2 * module.WAITING_BYTES
    assert stopped < size / 2
    assert {line.line for line in lines} == {text}


async def test_the_latest_lines_of_a_reader_are_bounded(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TAIL_BYTES", 16_000)
    for name in ("api-1", "api-2"):
        logs.node.logs[name] = log(*(f"{number}" + "x" * 99 for number in range(1000)))
        logs.on_pod(pod(name))

    lines = await read(logs, LogQuery(tail=1000))

    assert 30 <= len(lines) <= 42
    assert lines[-1].line.startswith("999x")


async def test_a_log_that_is_refused_is_told_and_the_others_are_read(logs: Logs) -> None:
    logs.node.logs["api-2"] = log("2")
    logs.node.refused["api-1"] = (403, "pods/log is forbidden")
    for name in ("api-1", "api-2"):
        logs.on_pod(pod(name))

    told, line = await read(logs, LogQuery())

    assert told.is_notice
    assert told.line == "the output of pod api-1-id cannot be read: pods/log is forbidden"
    assert (told.app, line.line) == ("shop", "2")


async def test_a_follower_is_told_once_of_a_log_that_cannot_be_read_for_long(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_RETRY_S", 0.001)
    monkeypatch.setattr(module, "MAX_RETRY_S", 0.01)
    logs.node.logs["api-1"] = log("1")
    logs.node.refused["api-1"] = (500, "the node does not answer")
    logs.on_pod(pod("api-1"))
    reader = logs.open_reader(LogQuery(follow=True))
    await wait_until(lambda: len(logs.node.queries) > 5)
    (told,) = reader.drain()

    logs.node.refused.clear()
    (line,) = await next_lines(reader, 1)

    assert told.line == (
        "the output of pod api-1-id cannot be read, retrying: the node does not answer"
    )
    assert line.line == "1"


async def test_a_pod_that_comes_later_is_followed_from_its_first_line(logs: Logs) -> None:
    reader = logs.open_reader(LogQuery(component="api", tail=0, follow=True))
    await asyncio.sleep(0)
    logs.node.logs["api-1"] = log("first")

    logs.on_pod(pod("api-1", State()))
    logs.on_pod(pod("api-1"))

    (line,) = await next_lines(reader, 1)
    assert line.line == "first"
    assert "tailLines" not in logs.node.queries[0]


async def test_a_pod_may_come_while_a_reader_ends(logs: Logs) -> None:
    logs.on_pod(pod("api-1"))
    reader = logs.open_reader(LogQuery(tail=0, follow=True))
    await wait_until(lambda: logs.open_streams == 1)

    reader.close()
    for number in range(10):
        await asyncio.sleep(0)
        logs.on_pod(pod(f"later-{number}"))
    await wait_until(lambda: reader.is_done)

    assert logs.open_streams == 0


async def test_faults_of_the_reader_itself_end_it(
    logs: Logs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: Any) -> LogLine:
        raise RuntimeError("a fault")

    logs.on_pod(pod("api-1"))
    reader = logs.open_reader(LogQuery(follow=True))
    monkeypatch.setattr(reader, "_is_wanted", fail)

    (told,) = await next_lines(reader, 1)

    assert told.line == "the output of pods cannot be read: see the log of the pod runner"
    assert reader.is_done
    assert "a fault" in caplog.text
