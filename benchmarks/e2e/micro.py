"""A service of nats-py: ``python -m benchmarks.e2e.micro NATS_URL KEY SUBJECT``."""

from __future__ import annotations

import asyncio
import sys

import nats
import uvloop
from nats.micro import add_service
from nats.micro.request import Request

from benchmarks.e2e.bare import BODY
from benchmarks.support.nats_address import NatsAddress


async def answer(request: Request) -> None:
    """Answer with 512 bytes."""
    await request.respond(BODY)


async def _main(nats_url: str, key: str, subject: str) -> None:
    address = NatsAddress(url=nats_url, credentials=key)
    client = await nats.connect(**await address.options())
    service = await add_service(client, name="bench", version="1.0.0")
    await service.add_endpoint(name="answer", subject=subject, handler=answer)
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
