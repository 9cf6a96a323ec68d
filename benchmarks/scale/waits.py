"""How long others wait: requests beside changes, and a release until it is answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from http import HTTPStatus

import aiohttp

from benchmarks.scale.changes import Changer
from benchmarks.scale.previews import explicit_path, plain_path, preview_name
from benchmarks.scale.site import Site
from benchmarks.support.job import Job
from benchmarks.support.rounds import Sender

RATE_PER_S = 200.0
OTHERS_PER_S = 20.0
_CONNECTIONS = 8
_LEAD_S = 0.3


async def longest_wait_ms(
    site: Site, sender: Sender, work: Coroutine[object, object, object] | None, duration_s: float
) -> float:
    """Return the longest wait of a request, of 200 due each second, while work is done.

    Args:
        site: The site; its ``fox up`` gets the requests and does the work.
        sender: Load generator.
        work: Awaited meanwhile; None measures the site at rest.
        duration_s: Time in which requests are sent.

    Raises:
        RuntimeError: A request was not answered with 200.
    """
    job = Job(
        port=site.http_port,
        paths=(explicit_path(0),),
        connections=_CONNECTIONS,
        duration_s=duration_s,
        rate_per_s=RATE_PER_S,
    )
    load = asyncio.create_task(sender.run(job))
    await asyncio.sleep(_LEAD_S)
    if work is not None:
        await work
    outcome = await load
    if outcome.failures:
        raise RuntimeError(f"requests failed at {site.size} previews: {outcome.failures}")
    return outcome.latencies.max_us / 1e3


async def release_ms(site: Site, changer: Changer, releases: int) -> list[float]:
    """Return the time from each release's request until it answers a plain URL, in ms."""
    times = []
    url = f"http://127.0.0.1:{site.http_port}{plain_path(preview_name(0))}"
    async with aiohttp.ClientSession() as client:
        for number in range(releases):
            begin_s = time.perf_counter()
            release = await changer.toggle_release(number)
            await _first_routed(client, url, release)
            times.append((time.perf_counter() - begin_s) * 1e3)
    return times


async def release_beside_others_ms(site: Site, changer: Changer, releases: int) -> list[float]:
    """Return the same while others make 20 changes a second."""
    others = asyncio.create_task(changer.make_at_rate(OTHERS_PER_S, 3600))
    try:
        return await release_ms(site, changer, releases)
    finally:
        others.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await others


async def _first_routed(client: aiohttp.ClientSession, url: str, release: str) -> None:
    while True:
        async with client.get(url) as answer:
            is_released = answer.headers.get("kubefox-release") == release
            if is_released and answer.status == HTTPStatus.OK:
                return
