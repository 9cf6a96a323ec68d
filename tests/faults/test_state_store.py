"""A process of the adapters hangs, or NATS servers are replaced: no request to the store fails."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from fox.nats_keys import open_nats_keys
from tests.faults.parts import Parts, open_parts
from tests.support.nats import NatsServer
from tests.support.nats_cluster import nats_cluster

pytestmark = pytest.mark.faults

REQUESTS = 12
CLIENTS = 8
OK = 200
MORE_ANSWERS = 100
SOON_S = 120
_STORING = '''\
"""Creates an entry, and answers with what is stored."""

from fox import Context, Kit

kit = Kit(title="API")
orders = kit.state_store("orders")


@kit.route("Path(`/api`)")
@kit.default
async def store(ctx: Context) -> str:
    """Store the number of the request."""
    number = ctx.query["number"]
    await orders.put(number, number, ctx=ctx, revision=0)
    entry = await orders.get(number, ctx=ctx)
    listed = {found.key for found in await orders.list(number, ctx=ctx)}
    return entry.value.decode() if entry and number in listed else "lost"
'''


async def store(client: aiohttp.ClientSession, parts: Parts, number: int) -> tuple[int, str]:
    """Return the status and the text of a request that creates an entry."""
    url = f"{parts.http.url}/api?kf-dep=storing&kf-ve=here&number={number}"
    async with client.post(url) as answer:
        return answer.status, await answer.text()


async def deploy_storing(parts: Parts) -> None:
    """Deploy an API that stores the number of each request."""
    main = parts.folder / "app" / "components" / "api" / "main.py"
    main.write_text(_STORING)
    await parts.fox("deploy", "storing", "--dirty", "--wait", cwd=parts.folder / "app")


class Stored:
    """Answers to the requests of several clients.

    Attributes:
        failures: Number, status and text of each request that failed.
        count: Number of answers.
    """

    def __init__(self) -> None:
        self.failures: list[tuple[int, int, str]] = []
        self.count = 0
        self._numbers = itertools.count()

    async def send(self, parts: Parts) -> None:
        """Send requests until cancelled."""
        async with aiohttp.ClientSession() as client:
            for number in self._numbers:
                status, text = await store(client, parts, number)
                self.count += 1
                if status != OK:
                    self.failures.append((number, status, text))

    async def wait_more(self) -> None:
        """Return when more requests are answered."""
        target = self.count + MORE_ANSWERS
        async with asyncio.timeout(SOON_S):
            while self.count < target:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def storing(parts: Parts) -> AsyncIterator[Stored]:
    """Send requests while the context lasts."""
    stored = Stored()
    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(stored.send(parts)) for _ in range(CLIENTS)]
        yield stored
        for client in clients:
            client.cancel()


async def test_no_request_fails_when_one_of_two_processes_of_the_adapters_hangs(
    own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    async with (
        open_parts(own_secured_nats_server, tmp_path, runners=1) as parts,
        aiohttp.ClientSession() as client,
    ):
        hung, _ = await parts.serve("adapters", "one"), await parts.serve("adapters", "two")
        await deploy_storing(parts)

        hung.process.send_signal(signal.SIGSTOP)
        try:
            requests = (store(client, parts, number) for number in range(REQUESTS))
            answers = Counter(await asyncio.gather(*requests))
        finally:
            hung.process.send_signal(signal.SIGCONT)

    assert answers == Counter((200, str(number)) for number in range(REQUESTS))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_no_request_fails_while_the_servers_are_replaced_one_after_another(
    tmp_path: Path, how: signal.Signals
) -> None:
    keys = await asyncio.to_thread(open_nats_keys, tmp_path)
    async with (
        nats_cluster(tmp_path, keys=keys) as cluster,
        open_parts(cluster, tmp_path, runners=2) as parts,
    ):
        await asyncio.gather(*(parts.serve("adapters", name) for name in ("one", "two")))
        await deploy_storing(parts)

        async with storing(parts) as stored:
            for server in cluster.servers:
                await stored.wait_more()
                await asyncio.to_thread(server.stop if how is signal.SIGTERM else server.kill)
                await stored.wait_more()
                await asyncio.to_thread(server.start)
                await cluster.wait_formed()
            await stored.wait_more()

    assert not stored.failures
