"""The failure of one of three NATS servers under load: which requests fail is counted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest
import pytest_asyncio

from adapters.http.server import READY_PATH
from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import Generator, open_generator
from fox.nats_keys import open_nats_keys
from tests.faults.parts import Part, Parts, open_parts
from tests.faults.two_component_app import HANDLES_POST, TICKS_PATH, WEB_PATH
from tests.support.nats import NatsServer
from tests.support.nats_cluster import NatsCluster, nats_cluster, stream_info

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

RATE_PER_S = 25
LOAD_S = 4.0
REQUESTS = int(RATE_PER_S * LOAD_S)
# Each has one request in flight at most: all requests may wait for a server that hangs.
CONNECTIONS = REQUESTS
GRACE_S = 28
CLIENTS = 4
MORE_ANSWERS = 40
STREAMS = 8
MORE_TICKS = 20
LOGGED_S = 60
OK = 200
TESTING = "{environment: base, releasePolicy: {type: Testing}}"


class Ticks:
    """A stream that ticks until its client leaves.

    Attributes:
        count: Ticks that have arrived.
        has_ended: Whether the stream broke.
    """

    def __init__(self) -> None:
        self.count = 0
        self.has_ended = False

    async def read(self, client: aiohttp.ClientSession, url: str) -> None:
        """Read the stream until it breaks."""
        with contextlib.suppress(aiohttp.ClientError):
            async with client.get(url) as response:
                async for chunk in response.content.iter_any():
                    self.count += len(chunk) // len(b"tick")
        self.has_ended = True

    async def wait_more(self, ticks: int) -> None:
        """Return when more ticks have arrived, or when the stream broke."""
        target = self.count + ticks
        while self.count < target and not self.has_ended:
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsCluster]:
    folder = tmp_path_factory.mktemp("cluster")
    keys = await asyncio.to_thread(open_nats_keys, folder)
    async with nats_cluster(folder, keys=keys) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_parts(
    shared_cluster: NatsCluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Parts]:
    folder = tmp_path_factory.mktemp("parts")
    async with open_parts(shared_cluster, folder, runners=2) as parts:
        yield parts


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(shared_cluster: NatsCluster) -> AsyncIterator[NatsCluster]:
    """The shared cluster, whose servers all run again after the test."""
    yield shared_cluster
    for server in shared_cluster.servers:
        if server.is_running:
            os.kill(server.pid, signal.SIGCONT)
        else:
            await asyncio.to_thread(server.start)
    await shared_cluster.wait_formed()


@pytest_asyncio.fixture(loop_scope="module")
async def parts(cluster: NatsCluster, shared_parts: Parts) -> Parts:
    """The shared parts, all of them connected to servers that run."""
    async with aiohttp.ClientSession() as client:
        for url in (shared_parts.http.url + READY_PATH, shared_parts.control.url + "/readyz"):
            while not await is_ready(client, url):
                await asyncio.sleep(0.02)
    return shared_parts


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generator() -> AsyncIterator[Generator]:
    async with open_generator() as generator:
        yield generator


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def post_generator() -> AsyncIterator[Generator]:
    async with open_generator() as generator:
        yield generator


def start_load(generator: Generator, parts: Parts, body_bytes: int) -> asyncio.Task[Outcome]:
    job = Job(
        port=parts.http.port,
        paths=(WEB_PATH,),
        connections=CONNECTIONS,
        duration_s=LOAD_S,
        rate_per_s=RATE_PER_S,
        body_bytes=body_bytes,
        grace_s=GRACE_S,
    )
    return asyncio.create_task(generator.run(job))


async def fail(server: NatsServer, how: signal.Signals) -> None:
    """Let a server fail, and end it."""
    os.kill(server.pid, how)
    if how is not signal.SIGSTOP:
        await asyncio.to_thread(server.kill)


async def recover(server: NatsServer, how: signal.Signals) -> None:
    if how is signal.SIGSTOP:
        os.kill(server.pid, signal.SIGCONT)
    else:
        await asyncio.to_thread(server.start)


class Asked:
    """Answers to the requests of several clients to one URL, each sending one after another.

    Attributes:
        begun: Number of requests that were sent.
        answers: Body of each answer, or its status if it is not 200, by the number of the request.
        begun_before: Number of requests that were sent before each body was answered first.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.begun = 0
        self.answers: dict[int, str] = {}
        self.begun_before: dict[str, int] = {}

    async def send(self, client: aiohttp.ClientSession) -> None:
        """Send requests until cancelled."""
        while True:
            number = self.begun
            self.begun += 1
            async with client.get(self._url) as response:
                text = await response.text()
            self.answers[number] = text if response.status == OK else f"{response.status}: {text}"
            self.begun_before.setdefault(text, self.begun)

    async def wait_more(self) -> None:
        """Return when requests that begin from now on are answered."""
        first = self.begun
        while sum(number >= first for number in self.answers) < MORE_ANSWERS:
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def asking(url: str) -> AsyncIterator[Asked]:
    """Send requests while the context lasts."""
    asked = Asked(url)
    async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as group:
        clients = [group.create_task(asked.send(client)) for _ in range(CLIENTS)]
        yield asked
        for sending in clients:
            sending.cancel()


def posts_handled(folder: Path) -> int:
    """Return how often a handler of the API has begun a POST request, by the logs of its pods."""
    logs = folder.glob("pods-*/logs/api-*.log")
    return sum(log.read_text().count(HANDLES_POST) for log in logs)


async def wait_posts_handled(folder: Path, count: int) -> int:
    """Return ``posts_handled`` once it is ``count`` or more: lines are written later."""
    async with asyncio.timeout(LOGGED_S):
        while (handled := await asyncio.to_thread(posts_handled, folder)) < count:
            await asyncio.sleep(0.02)
    return handled


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
async def test_no_request_fails_when_a_server_fails(
    generator: Generator,
    post_generator: Generator,
    cluster: NatsCluster,
    parts: Parts,
    how: signal.Signals,
) -> None:
    before = await asyncio.to_thread(posts_handled, parts.folder)
    for number, server in enumerate(cluster.servers):
        loads = start_load(generator, parts, 0), start_load(post_generator, parts, 1)
        await asyncio.sleep(LOAD_S / 4)
        await fail(server, how)
        gets, posts = await asyncio.gather(*loads)
        await recover(server, how)
        await cluster.wait_formed()

        logger.info("%s of server %d: failed %s", how.name, number, (gets.failures, posts.failures))
        assert gets.failures == posts.failures == {}
        assert gets.answers == posts.answers == REQUESTS
        # A server that hung may still deliver what it had; no handler runs for it.
        expected = before + REQUESTS * (number + 1)
        assert await wait_posts_handled(parts.folder, expected) == expected


async def test_a_release_during_a_leader_change_is_done_and_never_half(
    cluster: NatsCluster, parts: Parts
) -> None:
    folder = parts.folder / "app"
    environments, main = folder / "environments.yaml", folder / "components" / "api" / "main.py"
    environments.write_text(environments.read_text().replace("{environment: base}", TESTING))
    await parts.fox("apply", "-f", environments)
    await parts.fox("release", "app", "--virtual-env", "here")
    main.write_text(main.read_text().replace('"done"', '"done anew"'))
    await parts.fox("deploy", "app-2", "--dirty", "--wait", cwd=folder)
    async with cluster.connect("test") as bus:
        leader = (await stream_info(bus, "KV_kubefox"))["cluster"]["leader"]

    async with asking(parts.http.url + "/web") as asked:
        await asked.wait_more()
        await asyncio.to_thread(cluster.named(leader).kill)
        await parts.fox("release", "app-2", "--virtual-env", "here")
        released = asked.begun
        await asked.wait_more()

    # The adapter may have had to find the new leader, and the command has waited for it.
    switched = min(released, asked.begun_before.get("done anew", released))
    assert set(asked.answers.values()) == {"done", "done anew"}
    assert {text for number, text in asked.answers.items() if number >= switched} == {"done anew"}
    assert len(await parts.wait_ready(6)) == 6


def server_of(part: Part, cluster: NatsCluster) -> NatsServer | None:
    """Return the NATS server that a part is connected to; None while it is connected to none."""
    return server_of_process(part.process.pid, cluster)


def server_of_process(pid: int, cluster: NatsCluster) -> NatsServer | None:
    """Return the NATS server that a process is connected to; None while it is connected to none."""
    connections = psutil.Process(pid).net_connections("tcp")
    ports = {
        found.raddr.port for found in connections if found.raddr and found.status == "ESTABLISHED"
    }
    return next((server for server in cluster.servers if server.port in ports), None)


async def pids_of(parts: Parts) -> list[int]:
    """Return the process ids of the parts and of the pods."""
    processes = [part.process.pid for part in (parts.http, parts.control, *parts.pods.values())]
    return processes + [pod.pid for pod in await parts.wait_pods(bool) if pod.pid]


async def wait_left(server: NatsServer, pids: list[int], cluster: NatsCluster) -> None:
    """Wait until each process is connected to another server."""
    for pid in pids:
        while server_of_process(pid, cluster) in {server, None}:
            await asyncio.sleep(0.02)


async def is_ready(client: aiohttp.ClientSession, url: str) -> bool:
    async with client.get(url) as response:
        return response.status == OK


@pytest.mark.parametrize(("name", "path"), [("http", READY_PATH), ("control", "/readyz")])
async def test_a_part_is_not_ready_when_its_server_hangs_until_it_has_left_it(
    cluster: NatsCluster, parts: Parts, name: str, path: str
) -> None:
    part: Part = getattr(parts, name)
    url, hung, states = part.url + path, server_of(part, cluster), list[bool]()
    assert hung is not None
    async with aiohttp.ClientSession() as client:
        assert await is_ready(client, url)
        os.kill(hung.pid, signal.SIGSTOP)
        while server_of(part, cluster) in {hung, None}:
            states.append(await is_ready(client, url))
            await asyncio.sleep(0.02)
        while not await is_ready(client, url):
            await asyncio.sleep(0.02)
        os.kill(hung.pid, signal.SIGCONT)

    # First it does not know it, then it is not ready as long as it is connected to that server. The
    # last answer may come from after the change.
    assert False in states
    assert states[:-1] == sorted(states[:-1], reverse=True)


async def test_a_stream_over_a_server_that_hangs_breaks_and_the_others_go_on(
    cluster: NatsCluster, parts: Parts
) -> None:
    url, broken, pids = parts.http.url + TICKS_PATH, 0, await pids_of(parts)
    for server in cluster.servers:
        streams = [Ticks() for _ in range(STREAMS)]
        async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as group:
            readers = [group.create_task(stream.read(client, url)) for stream in streams]
            await asyncio.gather(*(stream.wait_more(1) for stream in streams))
            os.kill(server.pid, signal.SIGSTOP)
            await wait_left(server, pids, cluster)
            await asyncio.gather(*(stream.wait_more(MORE_TICKS) for stream in streams))
            broken += sum(stream.has_ended for stream in streams)
            os.kill(server.pid, signal.SIGCONT)
            for reader in readers:
                reader.cancel()
        await cluster.wait_formed()

    # The HTTP adapter is connected to one of the servers; none of its streams goes on over another.
    assert broken >= STREAMS
