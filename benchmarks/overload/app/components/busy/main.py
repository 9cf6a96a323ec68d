"""Busy: computes, waits, streams, reads bodies and emits events, as much as a request says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from fox import Context, Kit, Response

kit = Kit(title="Busy")
worker = kit.component("worker")


@kit.route("Path(`/answer`)")
async def answer(_ctx: Context) -> str:
    """Answer at once."""
    return "done"


@kit.route("Path(`/compute`)")
async def compute(ctx: Context) -> str:
    """Use the CPU for a time, and hold the event loop meanwhile."""
    end_s = time.thread_time() + float(ctx.query["for_s"])
    while time.thread_time() < end_s:
        pass
    return "done"


@kit.route("Path(`/wait`)")
async def wait(ctx: Context) -> str:
    """Wait without holding the event loop."""
    await asyncio.sleep(float(ctx.query["for_s"]))
    return "done"


@kit.route("Path(`/block`)")
async def block(ctx: Context) -> str:
    """Hold the event loop without using the CPU."""
    time.sleep(float(ctx.query["for_s"]))  # noqa: ASYNC251 - a fault that the benchmark makes
    return "done"


@kit.route("Path(`/body`)")
async def read(ctx: Context) -> str:
    """Read a whole body."""
    return str(len(ctx.body))


@kit.route("Path(`/page`)")
async def show_page(ctx: Context) -> bytes:
    """Return a large body."""
    return bytes(int(ctx.query["bytes"]))


@kit.route("Path(`/events`)")
async def events(_ctx: Context) -> Response:
    """Send an event each second, without end."""
    return Response.events(ticks())


async def ticks() -> AsyncIterator[str]:
    """Yield a text each second."""
    while True:
        yield "tick"
        await asyncio.sleep(1)


@kit.route("Path(`/emit`)")
async def emit(ctx: Context) -> str:
    """Emit events; their handler waits for a time and notes the time of its begin in a file."""
    job = {"for_s": float(ctx.query["for_s"]), "file": ctx.query.get("file", "")}
    for _ in range(int(ctx.query["count"])):
        await worker.emit("/", ctx=ctx, json=job)
    return "done"
