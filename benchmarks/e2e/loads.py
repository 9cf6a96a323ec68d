"""The loads: what is asked, of whom, how hard and how often."""

from __future__ import annotations

import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from benchmarks.e2e.contestants import BARE, EXPLICIT, FLOOR, FLOOR_HOP, HOP, PLAIN
from benchmarks.e2e.experiments import Experiment, Notebook
from benchmarks.e2e.stage import Stage, set_up
from benchmarks.support import wrk
from benchmarks.support.job import Job
from benchmarks.support.load import Generator
from benchmarks.support.rounds import Contestant
from benchmarks.support.wrk import Wrk

CONNECTIONS = 32
OPEN_SHARE = 0.3
"""Of the floor's closed-loop throughput: what two requests in sequence still carry."""


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured.

    Attributes:
        starts: Of every contestant: how its memory happens to lie makes a process a little
            faster or slower for as long as it lives.
        rounds: Of each load in each start.
        duration_s: Of a contestant in a round.
        deployments: How many share pods, in ascending order from 1.
        repeats: Of each deployment.
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
    """Start every contestant several times, apply every load, and return what came of it."""
    notebook = Notebook(generator, effort.rounds)
    for turn in range(effort.starts):
        print(f"Start {turn + 1} of {effort.starts}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
            async with AsyncExitStack() as stack:
                stage = await set_up(Path(folder), stack, effort.deployments, turn)
                await _Loads(notebook, stage, effort).apply()
    return notebook.experiments


class _Loads:
    """The loads of one start."""

    def __init__(self, notebook: Notebook, stage: Stage, effort: Effort) -> None:
        self._notebook = notebook
        self._stage = stage
        self._is_full = effort.is_full
        self._load = Job(port=0, paths=(), connections=CONNECTIONS, duration_s=effort.duration_s)

    async def apply(self) -> None:
        """Apply every load, one after another."""
        stage, load, play = self._stage, self._load, self._notebook.play
        everyone = list(stage.everyone.values())
        title = f"Throughput: {CONNECTIONS} connections, each asks again when it is answered"
        await play("throughput", title, everyone, load)
        one = msgspec.structs.replace(load, connections=1)
        await play("latency", "Latency: one connection", everyone, one)
        await self._constant()
        title = "Deployments that share the same pods, asked for in turn"
        await play("deployments", title, stage.estates, load)
        await play("workers", "Workers of the HTTP adapter", stage.workers, load)
        if self._is_full:
            await self._connections()
            await self._bodies()
            await self._second_opinion()

    async def _constant(self) -> None:
        """Ask at the rate that the floor's throughput of the first start allows."""
        floor = self._notebook.first("throughput").of(FLOOR)
        rate_per_s = round(floor.rate_per_s.median * OPEN_SHARE, -2)
        load = msgspec.structs.replace(self._load, rate_per_s=rate_per_s)
        title = f"Constant load: {rate_per_s:,.0f} requests are due in a second, whatever happens"
        chosen = self._chosen(FLOOR, FLOOR_HOP, EXPLICIT, PLAIN, HOP, BARE)
        await self._notebook.play("open", title, chosen, load)

    async def _connections(self) -> None:
        for count in (1, 4, 16, 64, 256):
            title = f"{count} connections" if count > 1 else "1 connection"
            load = msgspec.structs.replace(self._load, connections=count)
            chosen = self._chosen(FLOOR, EXPLICIT, PLAIN)
            await self._notebook.play(f"connections-{count}", title, chosen, load)

    async def _bodies(self) -> None:
        for size in (0, 1 << 10, 10 << 10, 100 << 10):
            title = f"Request bodies of {size >> 10} KiB"
            load = msgspec.structs.replace(self._load, body_bytes=size)
            chosen = self._chosen(FLOOR, EXPLICIT, FLOOR_HOP, HOP)
            await self._notebook.play(f"body-{size}", title, chosen, load)

    async def _second_opinion(self) -> None:
        if wrk.is_installed():
            chosen = self._chosen(FLOOR, EXPLICIT, PLAIN, BARE)
            title = f"Throughput as wrk measures it: {CONNECTIONS} connections"
            await self._notebook.play("wrk", title, chosen, self._load, Wrk())

    def _chosen(self, *names: str) -> list[Contestant]:
        return [self._stage.everyone[name] for name in names]
