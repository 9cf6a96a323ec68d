"""The floor: the least that HTTP over NATS costs in Python, with no platform at all.

``python -m benchmarks.e2e.floor server|responder|relay NATS_URL SUBJECT [NEXT]``
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

TIMEOUT_S = 30


async def server(client: Client, subject: str) -> None:
    """Turn each HTTP request into a request to ``subject``."""

    async def handle(request: web.BaseRequest) -> web.Response:
        body = await request.read() if request.body_exists else b""
        answer = await client.request(subject, body, timeout=TIMEOUT_S)
        return web.Response(body=answer.data)

    await serve(handle)


async def responder(client: Client, subject: str) -> None:
    """Answer in the subscription's callback, which is the quickest way."""

    async def answer(message: Msg) -> None:
        await client.publish(message.reply, BODY)

    await client.subscribe(subject, "responders", cb=answer)
    await _say_ready(client)


async def relay(client: Client, subject: str, behind: str) -> None:
    """Answer with what ``behind`` answers: a second request in sequence."""
    tasks: set[asyncio.Task[None]] = set()

    async def answer(message: Msg) -> None:
        found = await client.request(behind, message.data, timeout=TIMEOUT_S)
        await client.publish(message.reply, found.data)

    async def hand_over(message: Msg) -> None:
        # Callbacks of a subscription run one after another: one that waits needs a task.
        task = asyncio.create_task(answer(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    await client.subscribe(subject, "relays", cb=hand_over)
    await _say_ready(client)


async def _say_ready(client: Client) -> None:
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


async def _main(role: str, nats_url: str, *subjects: str) -> None:
    client = await nats.connect(nats_url)
    match role:
        case "server":
            await server(client, *subjects)
        case "responder":
            await responder(client, *subjects)
        case _:
            await relay(client, *subjects)


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
