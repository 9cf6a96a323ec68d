"""One of two processes of the adapters hangs: the other does all requests to the state store."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.faults.parts import Parts, open_parts
from tests.support.nats import NatsServer

pytestmark = pytest.mark.faults

REQUESTS = 12
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
    return entry.value.decode() if entry else "lost"
'''


async def store(client: aiohttp.ClientSession, parts: Parts, number: int) -> tuple[int, str]:
    """Return the status and the text of a request that creates an entry."""
    url = f"{parts.http.url}/api?kf-dep=storing&kf-ve=here&number={number}"
    async with client.post(url) as answer:
        return answer.status, await answer.text()


async def test_no_request_fails_when_one_of_two_processes_of_the_adapters_hangs(
    own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    async with (
        open_parts(own_secured_nats_server, tmp_path, runners=1) as parts,
        aiohttp.ClientSession() as client,
    ):
        hung, _ = await parts.serve("adapters", "one"), await parts.serve("adapters", "two")
        main = tmp_path / "app" / "components" / "api" / "main.py"
        main.write_text(_STORING)
        await parts.fox("deploy", "storing", "--dirty", cwd=tmp_path / "app")

        hung.process.send_signal(signal.SIGSTOP)
        try:
            requests = (store(client, parts, number) for number in range(REQUESTS))
            answers = Counter(await asyncio.gather(*requests))
        finally:
            hung.process.send_signal(signal.SIGCONT)

    assert answers == Counter((200, str(number)) for number in range(REQUESTS))
