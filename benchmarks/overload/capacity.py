"""Which share of its capacity a component still answers when it gets up to four times as much."""

from __future__ import annotations

import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from benchmarks.overload import platform
from benchmarks.overload.effort import Effort
from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import Generator, open_generator
from benchmarks.support.programs import Programs
from benchmarks.support.rounds import Spread, spread

PLACES = 100
MAX_WAIT_S = 1.0
SETTINGS = {"FOX_POD_CONCURRENCY": str(PLACES), "FOX_POD_MAX_WAIT_S": f"{MAX_WAIT_S:g}"}
WAIT_S = 0.5
WARM_UP_S = 0.3
PROBE_CONNECTIONS = 8
CONNECTIONS = 2_000
"""More than requests can wait, so that each is sent when it is due."""
GRACE_S = 35.0
MS_PER_US = 1e-3


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """A handler whose capacity is measured.

    Attributes:
        name: Name in the report.
        path: Path and query of the requests.
        capacity_per_s: Its capacity by definition; None if a closed loop has to measure it.
    """

    name: str
    path: str
    capacity_per_s: float | None = None


HANDLERS = (
    Handler(name="20 ms of CPU", path=platform.victim_path("compute", "for_s=0.02")),
    Handler(
        name=f"wait of {WAIT_S:g} s, {PLACES} places",
        path=platform.victim_path("wait", f"for_s={WAIT_S:g}"),
        capacity_per_s=PLACES / WAIT_S,
    ),
)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One load of one round.

    Attributes:
        capacity_per_s: Of the handler; if it is measured, just before this load.
        outcome: Every answer to the load.
    """

    capacity_per_s: float
    outcome: Outcome


class Goodput(msgspec.Struct, frozen=True, kw_only=True):
    """A handler under a multiple of its capacity.

    Attributes:
        handler: Name of the handler.
        times: Offered load as a multiple of the capacity.
        offered: Requests in all rounds.
        capacity_per_s: Answers in a second that the handler can give.
        share: Answers with 200 in a second, as a share of the capacity.
        p50_ms: Median latency of the answers with 200, from the time at which they were due.
        p99_ms: 99th percentile of the latency of the answers with 200.
        failures: Number of other answers in all rounds, by status.
    """

    handler: str
    times: float
    offered: int
    capacity_per_s: Spread
    share: Spread
    p50_ms: Spread
    p99_ms: Spread
    failures: dict[str, int]


async def measure(effort: Effort) -> tuple[Goodput, ...]:
    """Measure every handler under every load, on a platform of its own."""
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with AsyncExitStack() as stack:
            generator = await stack.enter_async_context(open_generator())
            kubefox = await platform.start(Programs(Path(folder), stack), SETTINGS)
            found = []
            for handler in HANDLERS:
                print(f"Overload: {handler.name}", file=sys.stderr, flush=True)
                job = Job(port=kubefox.http_port, paths=(handler.path,), grace_s=GRACE_S)
                runs = await _alternate(generator, handler, job, effort)
                found += [goodput(handler.name, times, runs[times]) for times in effort.times]
    return tuple(found)


async def _alternate(
    generator: Generator, handler: Handler, job: Job, effort: Effort
) -> dict[float, list[Run]]:
    """Apply each load in every round; each round begins with another one."""
    await _probe_per_s(generator, job, WARM_UP_S)
    runs: dict[float, list[Run]] = {times: [] for times in effort.times}
    for number in range(effort.rounds):
        first = number % len(effort.times)
        for times in (*effort.times[first:], *effort.times[:first]):
            capacity_per_s = handler.capacity_per_s or await _probe_per_s(
                generator, job, effort.probe_s
            )
            load = msgspec.structs.replace(
                job,
                connections=CONNECTIONS,
                duration_s=effort.load_s,
                rate_per_s=times * capacity_per_s,
            )
            outcome = await generator.run(load)
            runs[times].append(Run(capacity_per_s=capacity_per_s, outcome=outcome))
    return runs


async def _probe_per_s(generator: Generator, job: Job, duration_s: float) -> float:
    """Return the answers in a second of a closed loop."""
    probe = msgspec.structs.replace(job, connections=PROBE_CONNECTIONS, duration_s=duration_s)
    return (await generator.run(probe)).rate_per_s


def goodput(handler: str, times: float, runs: list[Run]) -> Goodput:
    """Return the result of one load over all rounds."""
    statuses = sorted({status for run in runs for status in run.outcome.failures})
    failures = {
        status: sum(run.outcome.failures.get(status, 0) for run in runs) for status in statuses
    }
    return Goodput(
        handler=handler,
        times=times,
        offered=sum(run.outcome.succeeded for run in runs) + sum(failures.values()),
        capacity_per_s=spread([run.capacity_per_s for run in runs]),
        share=spread([run.outcome.goodput_per_s / run.capacity_per_s for run in runs]),
        p50_ms=spread([run.outcome.accepted.p50_us * MS_PER_US for run in runs]),
        p99_ms=spread([run.outcome.accepted.p99_us * MS_PER_US for run in runs]),
        failures=failures,
    )
