"""The loads: their requests, contestants, rates and number of rounds."""

from __future__ import annotations

import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from benchmarks.e2e.contestants import BARE, EXPLICIT, FLOOR, FLOOR_HOP, HOP, PLAIN
from benchmarks.e2e.experiments import Experiment, ExperimentRunner
from benchmarks.e2e.stage import Stage, set_up
from benchmarks.support import wrk
from benchmarks.support.job import Job
from benchmarks.support.load import Generator
from benchmarks.support.rounds import Contestant
from benchmarks.support.wrk import Wrk

CONNECTIONS = 32
OPEN_SHARE = 0.3
"""Share of the floor's closed-loop throughput; two requests in sequence still reach it."""


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """The extent of a run.

    Attributes:
        starts: How often every contestant is started. The memory layout makes a process a little
            faster or slower until it ends.
        rounds: Number of rounds of each load in each start.
        duration_s: Time of one contestant in a round.
        deployments: Numbers of deployments that share pods, in ascending order from 1.
        repeats: How often each deployment is measured.
        is_full: Whether the loads of connections and bodies are applied too.
    """

    starts: int
    rounds: int
    duration_s: float
    deployments: tuple[int, ...]
    repeats: int
    is_full: bool


SHORT = Effort(
    starts=3, rounds=4, duration_s=0.25, deployments=(1, 1_000), repeats=5, is_full=False
)
FULL = Effort(
    starts=4, rounds=6, duration_s=0.35, deployments=(1, 10, 1_000), repeats=10, is_full=True
)


async def run_all(generator: Generator, effort: Effort) -> tuple[Experiment, ...]:
    """Start every contestant several times, apply every load, and return the results."""
    runner = ExperimentRunner(generator, effort.rounds)
    for start in range(effort.starts):
        print(f"Start {start + 1} of {effort.starts}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
            async with AsyncExitStack() as stack:
                stage = await set_up(Path(folder), stack, effort.deployments, start)
                await _Loads(runner, stage, effort).apply()
    return runner.experiments


class _Loads:
    """The loads of one start."""

    def __init__(self, runner: ExperimentRunner, stage: Stage, effort: Effort) -> None:
        self._runner = runner
        self._stage = stage
        self._is_full = effort.is_full
        self._load = Job(port=0, paths=(), connections=CONNECTIONS, duration_s=effort.duration_s)

    async def apply(self) -> None:
        """Apply every load, one after another."""
        stage, load, apply = self._stage, self._load, self._runner.apply
        contestants = list(stage.contestants.values())
        title = (
            f"Throughput: {CONNECTIONS} connections, each sends its next request after the answer"
        )
        await apply("throughput", title, contestants, load)
        one = msgspec.structs.replace(load, connections=1)
        await apply("latency", "Latency: one connection", contestants, one)
        await self._constant()
        title = "Deployments that share the same pods, requested one after another"
        await apply("deployments", title, stage.shared_pods, load)
        await apply("workers", "Workers of the HTTP adapter", stage.workers, load)
        if self._is_full:
            await self._connections()
            await self._bodies()
            await self._wrk()

    async def _constant(self) -> None:
        """Send at a constant rate, derived from the floor's throughput in the first start."""
        floor = self._runner.first("throughput").of(FLOOR)
        rate_per_s = round(floor.rate_per_s.median * OPEN_SHARE, -2)
        load = msgspec.structs.replace(self._load, rate_per_s=rate_per_s)
        title = f"Constant load: {rate_per_s:,.0f} requests a second, due at fixed times"
        chosen = self._chosen(FLOOR, FLOOR_HOP, EXPLICIT, PLAIN, HOP, BARE)
        await self._runner.apply("open", title, chosen, load)

    async def _connections(self) -> None:
        for count in (1, 4, 16, 64, 256):
            title = f"{count} connections" if count > 1 else "1 connection"
            load = msgspec.structs.replace(self._load, connections=count)
            chosen = self._chosen(FLOOR, EXPLICIT, PLAIN)
            await self._runner.apply(f"connections-{count}", title, chosen, load)

    async def _bodies(self) -> None:
        for size in (0, 1 << 10, 10 << 10, 100 << 10):
            title = f"Request bodies of {size >> 10} KiB"
            load = msgspec.structs.replace(self._load, body_bytes=size)
            chosen = self._chosen(FLOOR, EXPLICIT, FLOOR_HOP, HOP)
            await self._runner.apply(f"body-{size}", title, chosen, load)

    async def _wrk(self) -> None:
        if wrk.is_installed():
            chosen = self._chosen(FLOOR, EXPLICIT, PLAIN, BARE)
            title = f"Throughput as wrk measures it: {CONNECTIONS} connections"
            await self._runner.apply("wrk", title, chosen, self._load, Wrk())

    def _chosen(self, *names: str) -> list[Contestant]:
        return [self._stage.contestants[name] for name in names]
