"""Requests to all previews in turn, beside requests to a hot set of them."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.e2e.kubefox import port_of
from benchmarks.scale.changes import Changer
from benchmarks.scale.previews import explicit_path
from benchmarks.scale.site import Site
from benchmarks.support.job import Job
from benchmarks.support.rounds import Sender

HOT = 100
CONNECTIONS = 32
LEAST_REQUESTS = 10_000
_GIVE_UP_S = 300


async def first_visits_per_s(site: Site, sender: Sender, most: int) -> float:
    """Request previews for the first time, and return how many were answered in a second.

    Args:
        site: The site; its ``fox serve http`` gets the requests.
        sender: Load generator.
        most: Number of previews at most.
    """
    previews = min(site.size, most)
    return await send_in_turn(site, sender, previews, previews)


async def visit(site: Site, sender: Sender, previews: int) -> None:
    """Request so many previews once, in ``fox up``."""
    await _rate_per_s(sender, site.http_port, previews, previews)


class Cycling(NamedTuple):
    """Throughput over all previews in turn.

    Attributes:
        after_change: With new contexts, because the environment of all previews was changed; as a
            share of the throughput of the hot set.
        known: With contexts that are known to all processes, as such a share.
    """

    after_change: float
    known: float


async def cycling(site: Site, sender: Sender, changer: Changer, most: int) -> Cycling:
    """Change the environment of all previews, and compare requests in turn with a hot set.

    All send the same number of requests, so many that each preview is requested; arguments are as
    for ``first_visits_per_s``.
    """
    previews = min(site.size, most)
    requests = max(previews, min(most, LEAST_REQUESTS))
    await changer.environment_s(is_used=False)
    await site.settle()
    new = await send_in_turn(site, sender, previews, requests)
    hot = await send_in_turn(site, sender, min(HOT, previews), requests)
    known = await send_in_turn(site, sender, previews, requests)
    return Cycling(after_change=new / hot, known=known / hot)


async def send_in_turn(site: Site, sender: Sender, previews: int, requests: int) -> float:
    """Send requests to the first previews in turn, and return how many were answered in a second.

    Args:
        site: The site; its ``fox serve http`` gets the requests.
        sender: Load generator.
        previews: Number of previews.
        requests: Number of requests.
    """
    return await _rate_per_s(sender, port_of(site.http), previews, requests)


async def _rate_per_s(sender: Sender, port: int, previews: int, requests: int) -> float:
    job = Job(
        port=port,
        paths=tuple(explicit_path(number) for number in range(previews)),
        connections=CONNECTIONS,
        duration_s=_GIVE_UP_S,
        max_answers=requests,
    )
    outcome = await sender.run(job)
    if outcome.failures:
        raise RuntimeError(f"requests to {previews} previews failed: {outcome.failures}")
    return outcome.rate_per_s
