"""The failure of one of three NATS servers under load: which requests fail is counted."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import Generator, open_generator
from fox.nats_keys import NatsKeys, open_nats_keys
from tests.faults.parts import Parts, open_parts
from tests.faults.two_component_app import WEB_PATH
from tests.support.nats import NatsServer
from tests.support.nats_cluster import NatsCluster, nats_cluster, stream_info

logger = logging.getLogger(__name__)

pytestmark = pytest.mark.faults

RATE_PER_S = 25
LOAD_S = 4.0
REQUESTS = int(RATE_PER_S * LOAD_S)
# Each has one request in flight at most: all requests may wait for a server that hangs.
CONNECTIONS = REQUESTS
GRACE_S = 28
TESTING = "{environment: base, releasePolicy: {type: Testing}}"
UNAVAILABLE = "503"


@pytest.fixture
def keys(tmp_path: Path) -> NatsKeys:
    return open_nats_keys(tmp_path)


@pytest.fixture
async def cluster(keys: NatsKeys, tmp_path: Path) -> AsyncIterator[NatsCluster]:
    async with nats_cluster(tmp_path, keys=keys) as cluster:
        yield cluster


@pytest.fixture
async def parts(cluster: NatsCluster, tmp_path: Path) -> AsyncIterator[Parts]:
    async with open_parts(cluster, tmp_path, runners=2) as parts:
        yield parts


@pytest.fixture
async def generator() -> AsyncIterator[Generator]:
    async with open_generator() as generator:
        yield generator


@pytest.fixture
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


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
async def test_only_posts_in_flight_on_its_connections_fail_when_a_server_fails(
    generator: Generator,
    post_generator: Generator,
    cluster: NatsCluster,
    parts: Parts,
    how: signal.Signals,
) -> None:
    for number, server in enumerate(cluster.servers):
        loads = start_load(generator, parts, 0), start_load(post_generator, parts, 1)
        await asyncio.sleep(LOAD_S / 4)
        await fail(server, how)
        gets, posts = await asyncio.gather(*loads)
        await recover(server, how)
        await cluster.wait_formed()

        # How many fail depends on what is in flight at that moment.
        logger.info("%s of server %d: failed %s", how.name, number, (gets.failures, posts.failures))
        assert gets.failures == {}
        assert gets.answers == posts.answers == REQUESTS
        assert set(posts.failures) <= {UNAVAILABLE}


async def test_a_release_during_a_leader_change_is_done(
    cluster: NatsCluster, parts: Parts, tmp_path: Path
) -> None:
    environments = tmp_path / "app" / "environments.yaml"
    text = environments.read_text()
    environments.write_text(text.replace("{environment: base}", TESTING))
    await parts.fox("apply", "-f", environments)
    async with cluster.connect("test") as bus:
        leader = (await stream_info(bus, "KV_kubefox"))["cluster"]["leader"]

    await asyncio.to_thread(cluster.named(leader).kill)
    await parts.fox("release", "app", "--virtual-env", "here")

    assert await parts.fox("get", "releases", "here")
    assert len(await parts.wait_ready(4)) == 4
