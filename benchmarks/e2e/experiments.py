"""The loads: what is asked, of whom, how hard and how often."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from benchmarks.e2e.bare import BODY
from benchmarks.e2e.contestants import (
    BARE,
    EXPLICIT,
    FLOOR,
    FLOOR_HOP,
    HOP,
    PLAIN,
    contestant,
    start_everyone,
)
from benchmarks.e2e.kubefox import (
    FIRST,
    KubeFox,
    deploy_app,
    deploy_copies,
    port_of,
    serve_http,
    start_apart,
    url_path,
)
from benchmarks.support import wrk
from benchmarks.support.job import Job
from benchmarks.support.load import Generator
from benchmarks.support.programs import Programs
from benchmarks.support.rounds import Contestant, Result, Sender, alternate, check, results
from benchmarks.support.wrk import Wrk

CONNECTIONS = 32
OPEN_SHARE = 0.3
"""Of the floor's closed-loop throughput: what two requests in sequence still carry."""


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured.

    Attributes:
        rounds: Of each load.
        duration_s: Of a contestant in a round.
        deployments: How many share pods, in ascending order.
        repeats: Of each deployment.
        is_full: Whether the loads of connections and bodies are applied too.
    """

    rounds: int
    duration_s: float
    deployments: tuple[int, ...]
    repeats: int
    is_full: bool


SHORT = Effort(rounds=7, duration_s=0.6, deployments=(1, 1_000), repeats=5, is_full=False)
FULL = Effort(rounds=7, duration_s=1, deployments=(1, 10, 1_000), repeats=10, is_full=True)


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """One load and what came of it.

    Attributes:
        name: For links.
        title: For people.
        load: Without port and paths.
        rounds: How many.
        results: Of each contestant.
    """

    name: str
    title: str
    load: Job
    rounds: int
    results: tuple[Result, ...]

    def of(self, name: str) -> Result:
        """Return one contestant's result."""
        return next(each for each in self.results if each.name == name)


class Laboratory:
    """Everything that runs while the loads do.

    Args:
        generator: Sends.
        everyone: All contestants on one app with one deployment.
        kubefox: The platform they run beside.
        programs: Where further ones are started.
        effort: How much to measure.
    """

    def __init__(
        self,
        generator: Generator,
        everyone: Sequence[Contestant],
        kubefox: KubeFox,
        programs: Programs,
        effort: Effort,
    ) -> None:
        """Start with nothing measured."""
        self.experiments: list[Experiment] = []
        self._generator = generator
        self._everyone = {each.name: each for each in everyone}
        self._kubefox = kubefox
        self._programs = programs
        self._effort = effort

    async def run(self) -> None:
        """Apply every load, one after another."""
        load = Job(port=0, paths=(), connections=CONNECTIONS)
        everyone = list(self._everyone.values())
        title = f"Throughput: {CONNECTIONS} connections, each asks again when it is answered"
        found = await self._measure("throughput", title, everyone, load)
        title = "Latency: one connection"
        await self._measure("latency", title, everyone, load, connections=1)
        rate_per_s = round(found.of(FLOOR).rate_per_s.median * OPEN_SHARE, -2)
        title = f"Constant load: {rate_per_s:,.0f} requests are due in a second, whatever happens"
        chosen = self._chosen(FLOOR, FLOOR_HOP, EXPLICIT, PLAIN, HOP, BARE)
        await self._measure("open", title, chosen, load, rate_per_s=rate_per_s)
        await self._deployments(load)
        await self._workers(load)
        if self._effort.is_full:
            await self._connections(load)
            await self._bodies(load)
            await self._second_opinion(load)

    async def _deployments(self, load: Job) -> None:
        async with AsyncExitStack() as stack:
            contestants: list[Contestant] = []
            for count in self._effort.deployments:
                base = contestants[0].name if contestants else ""
                contestants.append(await self._estate(stack, count, base))
            title = "Deployments that share the same pods, asked for in turn"
            await self._measure("deployments", title, contestants, load)

    async def _estate(self, stack: AsyncExitStack, count: int, baseline: str) -> Contestant:
        folder = self._programs.folder / f"estate-{count}"
        folder.mkdir()
        programs = Programs(folder, stack)
        kubefox = await start_apart(programs)
        await deploy_app(kubefox, programs)
        names = [FIRST, *(f"bench-{number}" for number in range(2, count + 1))]
        await deploy_copies(kubefox, names[1:])
        paths = [url_path("direct", name) for name in names]
        pods = await kubefox.pods("direct")
        label = f"{count:,} deployments" if count > 1 else "1 deployment"
        return contestant(label, kubefox, pods["direct"], *paths, baseline=baseline)

    async def _workers(self, load: Job) -> None:
        found = self._everyone[EXPLICIT]
        async with AsyncExitStack() as stack:
            programs = Programs(self._programs.folder, stack)
            http = await serve_http(programs, self._kubefox.nats_url, workers=2)
            one = msgspec.structs.replace(found, name="1 worker", baseline="")
            two = msgspec.structs.replace(
                found,
                name="2 workers",
                port=port_of(http),
                processes={**found.processes, "adapter": http.family},
                baseline=one.name,
            )
            title = "Workers of the HTTP adapter"
            await self._measure("workers", title, [one, two], load)

    async def _connections(self, load: Job) -> None:
        for count in (1, 4, 16, 64, 256):
            await self._measure(
                f"connections-{count}",
                f"{count} connections" if count > 1 else "1 connection",
                self._chosen(FLOOR, EXPLICIT, PLAIN),
                load,
                connections=count,
            )

    async def _bodies(self, load: Job) -> None:
        for size in (0, 1 << 10, 10 << 10, 100 << 10):
            await self._measure(
                f"body-{size}",
                f"Request bodies of {size >> 10} KiB",
                self._chosen(FLOOR, EXPLICIT, FLOOR_HOP, HOP),
                load,
                body_bytes=size,
            )

    async def _second_opinion(self, load: Job) -> None:
        if wrk.is_installed():
            chosen = self._chosen(FLOOR, EXPLICIT, PLAIN, BARE)
            title = f"Throughput as wrk measures it: {CONNECTIONS} connections"
            await self._measure("wrk", title, chosen, load, sender=Wrk())

    def _chosen(self, *names: str) -> list[Contestant]:
        return [self._everyone[name] for name in names]

    async def _measure(
        self,
        name: str,
        title: str,
        contestants: Sequence[Contestant],
        load: Job,
        *,
        sender: Sender | None = None,
        **changes: object,
    ) -> Experiment:
        print(title, "…", file=sys.stderr, flush=True)
        await check(contestants, BODY)
        rounds = self._effort.rounds
        load = msgspec.structs.replace(load, duration_s=self._effort.duration_s, **changes)
        played = await alternate(sender or self._generator, contestants, load, rounds)
        found = Experiment(
            name=name,
            title=title,
            load=load,
            rounds=rounds,
            results=tuple(results(contestants, played)),
        )
        self.experiments.append(found)
        return found


async def run_all(
    generator: Generator, folder: Path, stack: AsyncExitStack, effort: Effort
) -> list[Experiment]:
    """Start every contestant, apply every load, and return what came of it."""
    programs = Programs(folder, stack)
    kubefox = await start_apart(programs)
    await deploy_app(kubefox, programs)
    everyone = await start_everyone(programs, kubefox)
    laboratory = Laboratory(generator, everyone, kubefox, programs, effort)
    await laboratory.run()
    return laboratory.experiments
