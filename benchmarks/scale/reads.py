"""The cost of reading: lists by pages, ``fox get``, and a scrape of ``/metrics``."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

import msgspec

from benchmarks.e2e.kubefox import FOX
from benchmarks.scale.site import Site

_CHUNK_BYTES = 64 << 10


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """One read.

    Attributes:
        first_s: Time until its first bytes.
        seconds: Time until its end.
        size_bytes: Size of the answer.
        cpu_ms: CPU time of ``fox up`` meanwhile.
    """

    first_s: float
    seconds: float
    size_bytes: int
    cpu_ms: float


async def first_page(site: Site) -> Read:
    """Read the first page of the deployments."""
    return await _measured(site, _body(site, "/v1/deployments"))


async def scrape(site: Site) -> Read:
    """Scrape the metrics."""
    return await _measured(site, _body(site, "/metrics"))


async def whole_list(site: Site) -> Read:
    """Read all deployments, page by page."""

    async def pages() -> AsyncIterator[bytes]:
        token = ""
        while True:
            query = f"?continue={token}" if token else ""
            page = b"".join([piece async for piece in _body(site, f"/v1/deployments{query}")])
            yield page
            token = msgspec.json.decode(page)["continue"]
            if not token:
                return

    return await _measured(site, pages())


async def command(site: Site) -> Read:
    """Run ``fox get deployments``."""
    process = await asyncio.create_subprocess_exec(
        *(FOX, "get", "deployments"),
        env={**os.environ, **site.kubefox.environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    output = process.stdout

    async def pieces() -> AsyncIterator[bytes]:
        while piece := await output.read(_CHUNK_BYTES):
            yield piece

    found = await _measured(site, pieces())
    if await process.wait():
        raise RuntimeError(f"fox get deployments ended with {process.returncode}")
    return found


async def _body(site: Site, path: str) -> AsyncIterator[bytes]:
    async with site.session.get(path) as answer:
        answer.raise_for_status()
        async for piece in answer.content.iter_chunked(_CHUNK_BYTES):
            yield piece


async def _measured(site: Site, pieces: AsyncIterator[bytes]) -> Read:
    before_ns, begin_s = site.cpu_ns()["fox up"], time.perf_counter()
    first_s, size_bytes = 0.0, 0
    async for piece in pieces:
        first_s = first_s or time.perf_counter() - begin_s
        size_bytes += len(piece)
    return Read(
        first_s=first_s,
        seconds=time.perf_counter() - begin_s,
        size_bytes=size_bytes,
        cpu_ms=(site.cpu_ns()["fox up"] - before_ns) / 1e6,
    )
