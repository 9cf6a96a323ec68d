"""The floor: the least cost of HTTP over NATS in Python, without any platform.

``python -m benchmarks.e2e.floor server|responder|relay NATS_URL KEY SUBJECT [NEXT]``
"""

from __future__ import annotations

import asyncio
import sys

import nats
import uvloop
from aiohttp import web
from nats.aio.client import Client
from nats.aio.msg import Msg

from benchmarks.e2e.bare import BODY, serve
from benchmarks.support.nats_address import NatsAddress

TIMEOUT_S = 30


async def server(client: Client, subject: str) -> None:
    """Turn each HTTP request into a request to ``subject``."""

    async def handle(request: web.BaseRequest) -> web.Response:
        body = await request.read() if request.body_exists else b""
        answer = await client.request(subject, body, timeout=TIMEOUT_S)
        return web.Response(body=answer.data)

    await serve(handle)


async def responder(client: Client, subject: str) -> None:
    """Answer in the callback of the subscription, which is the fastest way."""

    async def answer(message: Msg) -> None:
        await client.publish(message.reply, BODY)

    await client.subscribe(subject, "responders", cb=answer)
    await _report_ready(client)


async def relay(client: Client, subject: str, behind: str) -> None:
    """Return the answer of ``behind``: a second request in sequence."""
    tasks: set[asyncio.Task[None]] = set()

    async def answer(message: Msg) -> None:
        found = await client.request(behind, message.data, timeout=TIMEOUT_S)
        await client.publish(message.reply, found.data)

    async def start_task(message: Msg) -> None:
        # Callbacks of a subscription run one after another: one that waits needs a task.
        task = asyncio.create_task(answer(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    await client.subscribe(subject, "relays", cb=start_task)
    await _report_ready(client)


async def _report_ready(client: Client) -> None:
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


async def _main(role: str, nats_url: str, key: str, *subjects: str) -> None:
    address = NatsAddress(url=nats_url, credentials=key)
    client = await nats.connect(**await address.options())
    match role:
        case "server":
            await server(client, *subjects)
        case "responder":
            await responder(client, *subjects)
        case _:
            await relay(client, *subjects)


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
