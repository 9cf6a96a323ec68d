"""An app with streamed bodies: one component streams, another one passes the bodies on."""

from __future__ import annotations

from pathlib import Path

from tests.e2e import slow_app

_STORE = '''\
"""Counts what it gets, makes what it is asked for."""

import asyncio
from pathlib import Path

from fox import Context, Kit, Response

kit = Kit(title="Store")
PART = bytes(100_000)


async def parts(size):
    for _ in range(size // len(PART)):
        yield PART


async def until_signalled(signals):
    yield b"begun"
    while not (signals / "end").exists():
        await asyncio.sleep(0.02)
    yield b"done"


@kit.route("Path(`/bytes/{size}`)")
async def make(ctx: Context) -> Response:
    """Return ``size`` bytes."""
    return Response.stream(parts(int(ctx.params["size"])))


@kit.route("Path(`/slow`)")
async def slow(ctx: Context) -> Response:
    """Begin, and end when the signal file ``end`` exists."""
    return Response.stream(until_signalled(Path(ctx.query["signals"])))


@kit.route("Path(`/count`)", streams_body=True)
async def count(ctx: Context) -> str:
    """Return the size of the body."""
    size = 0
    async for chunk in ctx.stream():
        size += len(chunk)
    return str(size)


@kit.default(streams_body=True)
async def serve(ctx: Context) -> Response | str:
    """Do the same for other components."""
    if ctx.method == "POST":
        return await count(ctx)
    return Response.stream(parts(int(ctx.query["size"])))
'''
_GATE = '''\
"""Passes bodies on."""

from fox import Context, Kit, Response

kit = Kit(title="Gate")
store = kit.component("store")


async def passed_on(ctx):
    query = dict(ctx.query)
    async with store.stream(ctx.method, "/", ctx=ctx, query=query, body=ctx.stream()) as answer:
        async for chunk in answer:
            yield chunk


@kit.route("Path(`/via`)", streams_body=True)
async def via(ctx: Context) -> Response:
    """Pass both bodies on."""
    return Response.stream(passed_on(ctx))
'''


def build(folder: Path) -> None:
    """Create a repository with the app in ``folder``, uncommitted."""
    slow_app.build(folder)
    (folder / "components" / "slow" / "main.py").unlink()
    (folder / "components" / "slow").rmdir()
    for name, main in (("store", _STORE), ("gate", _GATE)):
        component = folder / "components" / name
        component.mkdir()
        (component / "main.py").write_text(main)
