"""How a flood of one deployment and environment changes the latency of another on the same pods."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from benchmarks.e2e.kubefox import KubeFox
from benchmarks.overload import platform
from benchmarks.overload.effort import Effort
from benchmarks.overload.flood_job import FloodJob
from benchmarks.overload.flooder import flooding
from benchmarks.overload.floods import floods
from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import Generator, open_generator
from benchmarks.support.programs import Programs
from benchmarks.support.rounds import Spread, spread

RATE_PER_S = 50
WARM_UP_S = 0.5
BEGIN_S = 1.0
"""Time that a flood has before the victim is measured."""
MS_PER_US = 1e-3


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """The victim of one flood.

    Attributes:
        flood: Description of the flood.
        alone_p50_ms: Median latency without the flood.
        alone_p99_ms: 99th percentile of the latency without the flood.
        p50_ms: Median latency beside the flood.
        p99_ms: 99th percentile of the latency beside the flood.
        p99_ratio: Ratio of both 99th percentiles in the same round.
        holds_ms: How long one request of the flood holds the event loop of its pod.
        requests: Requests of the victim beside the flood, in all rounds.
        failures: Those that were not answered with 200, by status.
        flood_statuses: Answers to the flood, by status; see ``Flooder``.
    """

    flood: str
    alone_p50_ms: Spread
    alone_p99_ms: Spread
    p50_ms: Spread
    p99_ms: Spread
    p99_ratio: Spread
    holds_ms: float
    requests: int
    failures: dict[str, int]
    flood_statuses: dict[str, int]


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The victim in one round: alone, and beside a flood."""

    alone: Outcome
    beside: Outcome
    flood_statuses: dict[str, int]


async def measure(effort: Effort) -> tuple[Neighbour, ...]:
    """Measure the victim alone and beside each flood in turn, on one platform."""
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with AsyncExitStack() as stack:
            generator = await stack.enter_async_context(open_generator())
            kubefox = await platform.start(Programs(Path(folder), stack))
            jobs = floods(kubefox.http_port)
            pairs: dict[str, list[Pair]] = {job.name: [] for job in jobs}
            await generator.run(_victim(kubefox, WARM_UP_S))
            for number in range(effort.rounds):
                first = number % len(jobs)
                for job in (*jobs[first:], *jobs[:first]):
                    print(f"Flood: {job.name}", file=sys.stderr, flush=True)
                    pairs[job.name].append(await _pair(generator, kubefox, job, effort.victim_s))
    return tuple(neighbour(job, pairs[job.name]) for job in jobs)


async def _pair(generator: Generator, kubefox: KubeFox, job: FloodJob, victim_s: float) -> Pair:
    victim = _victim(kubefox, victim_s)
    alone = await generator.run(victim)
    async with flooding(job) as statuses:
        await asyncio.sleep(BEGIN_S)
        beside = await generator.run(victim)
    await platform.wait_settled(kubefox)
    return Pair(alone=alone, beside=beside, flood_statuses=dict(statuses))


def _victim(kubefox: KubeFox, duration_s: float) -> Job:
    return Job(
        port=kubefox.http_port,
        paths=(platform.victim_path("answer"),),
        connections=RATE_PER_S,
        duration_s=duration_s,
        rate_per_s=RATE_PER_S,
        grace_s=35,
    )


def neighbour(job: FloodJob, pairs: list[Pair]) -> Neighbour:
    """Return the result of one flood over all rounds."""
    alone = [pair.alone.latencies for pair in pairs]
    beside = [pair.beside.latencies for pair in pairs]
    failures: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for pair in pairs:
        failures.update(pair.beside.failures)
        statuses.update(pair.flood_statuses)
    return Neighbour(
        flood=job.name,
        alone_p50_ms=spread([found.p50_us * MS_PER_US for found in alone]),
        alone_p99_ms=spread([found.p99_us * MS_PER_US for found in alone]),
        p50_ms=spread([found.p50_us * MS_PER_US for found in beside]),
        p99_ms=spread([found.p99_us * MS_PER_US for found in beside]),
        p99_ratio=spread(
            [both[1].p99_us / both[0].p99_us for both in zip(alone, beside, strict=True)]
        ),
        holds_ms=job.holds_ms,
        requests=sum(pair.beside.succeeded for pair in pairs) + sum(failures.values()),
        failures=dict(failures),
        flood_statuses=dict(statuses),
    )
