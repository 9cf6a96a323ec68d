"""A partition of the network between three NATS servers under load: failures are counted."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import Generator, open_generator
from broker.nats.stream_health import check_streams
from fox.nats_keys import open_nats_keys
from kubefox.errors import FoxError
from kubefox.status import CheckState
from tests.faults.parts import Parts, open_parts
from tests.faults.two_component_app import WEB_PATH
from tests.support.nats import NatsServer
from tests.support.nats_cluster import NatsCluster, nats_cluster, stream_info
from tests.support.network import Network

logger = logging.getLogger(__name__)

pytestmark = pytest.mark.faults

RATE_PER_S = 25
LOAD_S = 2.0
REQUESTS = int(RATE_PER_S * LOAD_S)
# Each has one request in flight at most: all requests may wait for a server that is cut off.
CONNECTIONS = REQUESTS
GRACE_S = 28
# Longer than the server needs to notice that the clients have left it.
CUT_S = 8.0
# When the clients are leaving the server, and when it is reached again and does not know that yet.
LEFT_S, SHORT_CUT_S = 5.5, 5.95
POLL_S = 0.1
CHANGE = """\
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: {{name: {name}}}
spec: {{environment: base}}
"""


@pytest.fixture
async def cluster(network: Network, tmp_path: Path) -> AsyncIterator[NatsCluster]:
    keys = await asyncio.to_thread(open_nats_keys, tmp_path)
    async with nats_cluster(tmp_path, keys=keys, hosts=network.hosts) as cluster:
        yield cluster


@pytest.fixture
async def parts(cluster: NatsCluster, tmp_path: Path) -> AsyncIterator[Parts]:
    async with open_parts(cluster, tmp_path, runners=2) as parts:
        yield parts


async def load(generator: Generator, parts: Parts, body_bytes: int) -> Outcome:
    return await generator.run(
        Job(
            port=parts.http.port,
            paths=(WEB_PATH,),
            connections=CONNECTIONS,
            duration_s=LOAD_S,
            rate_per_s=RATE_PER_S,
            body_bytes=body_bytes,
            grace_s=GRACE_S,
        )
    )


async def leader(cluster: NatsCluster) -> str:
    """Return the name of the server that leads the bucket of the control plane."""
    async with cluster.connect("test") as bus:
        while not (name := (await stream_info(bus, "KV_kubefox"))["cluster"].get("leader")):
            await asyncio.sleep(POLL_S)
    return str(name)


def count_left(server: NatsServer) -> int:
    """Return how many connections a server has left because the other end did not answer."""
    return sum("Stale Connection" in line for line in server.log)


async def change(parts: Parts, folder: Path, name: str) -> None:
    """Write a record of the control plane."""
    file = folder / f"{name}.yaml"
    await asyncio.to_thread(file.write_text, CHANGE.format(name=name))
    await parts.fox("apply", "-f", file)


async def wait_whole(cluster: NatsCluster) -> None:
    """Return when each stream and bucket has a leader and all its copies."""
    async with cluster.connect("test") as bus:
        while True:
            try:
                if (await check_streams(bus)).state is CheckState.OK:
                    return
            except FoxError as error:
                logger.info("the streams cannot be listed yet: %s", error)
            await asyncio.sleep(POLL_S)


async def test_requests_are_answered_when_a_server_is_cut_off(
    network: Network, cluster: NatsCluster, parts: Parts, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    first = await leader(cluster)
    async with open_generator() as getting, open_generator() as posting:
        # Each process is connected to one of the servers, and goes to another one only when that
        # is cut off. So each process is cut off from its server once.
        for own in sorted(cluster.servers, key=lambda server: server.name != first):
            number = cluster.servers.index(own)
            host, others = network.hosts[number], [one for one in cluster.servers if one is not own]
            left = [count_left(other) for other in others]
            loads = asyncio.gather(load(getting, parts, 0), load(posting, parts, 1))
            await asyncio.sleep(LOAD_S / 4)
            await asyncio.to_thread(network.cut, host)
            cut_s = loop.time()
            await change(parts, tmp_path, f"cut-{number}")
            gets, posts = await loads
            while any(count_left(one) == count for one, count in zip(others, left, strict=True)):
                await asyncio.sleep(POLL_S)
            await asyncio.sleep(cut_s + CUT_S - loop.time())
            await asyncio.to_thread(network.heal, host)
            await wait_whole(cluster)

            logger.info("%s, leader %s: %s", own.name, first, (gets.failures, posts.failures))
            assert gets.failures == posts.failures == {}
            assert gets.answers == posts.answers == REQUESTS

        # By now, processes are connected to the first one again.
        host = network.hosts[cluster.servers.index(cluster.named(first))]
        await asyncio.to_thread(network.cut, host)
        await asyncio.sleep(LEFT_S)
        loads = asyncio.gather(load(getting, parts, 0), load(posting, parts, 1))
        await asyncio.sleep(SHORT_CUT_S - LEFT_S)
        await asyncio.to_thread(network.heal, host)
        after = await loads

        await wait_whole(cluster)
    table, document = [await parts.fox("status", *form) for form in ((), ("-o", "json"))]

    assert [(one.answers, one.failures) for one in after] == [(REQUESTS, {})] * 2
    changed = await parts.fox("get", "virtual-environments", "-o", "name")
    assert {f"cut-{number}" for number in range(3)} <= set(changed.split())
    assert re.search(r"bucket kubefox +ok +3 copies, leader server-\d", table)
    streams = next(one for one in json.loads(document)["checks"] if one["name"] == "streams")
    assert {item["facts"]["replicas"] for item in streams["items"]} == {3}
