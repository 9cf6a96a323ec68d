"""The cost of one change of each kind: CPU time of each process, and changes per second."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from benchmarks.e2e.kubefox import FIRST
from benchmarks.scale.previews import preview_name, virtual_environment
from benchmarks.scale.site import SECOND, Site
from kubefox.deployment import Deployment

APP = "bench"
STABLE = "bench"
"""Environment of the benchmark's app; it has the default policy, Stable."""
CLIENTS = 8
_POLL_S = 0.02

Step = Callable[[int], Awaitable[object]]


class Changer:
    """Makes changes at one site; every name that it creates is new.

    Args:
        site: The site.
        first: Components of the first version of the app.
        second: Components of its second version, whose pods run too.
    """

    def __init__(self, site: Site, first: Mapping[str, str], second: Mapping[str, str]) -> None:
        self._site = site
        self._first = dict(first)
        self._second = dict(second)
        self._numbers = itertools.count()

    @classmethod
    async def at(cls, site: Site) -> Changer:
        """Return one for a site."""
        return cls(site, await site.hashes(FIRST), await site.hashes(SECOND))

    async def cpu_ms(self, repeats: int) -> dict[str, dict[str, float]]:
        """Return the CPU time of one change in ms, by kind of change and by process.

        Args:
            repeats: Number of changes of each kind.
        """
        batch = next(self._numbers)
        found = {}
        async for kind, step in self._kinds(batch, repeats):
            await self._site.settle()
            before = self._site.cpu_ns()
            for number in range(repeats):
                await step(number)
            await self._settle_rollouts(kind, batch, repeats)
            after = self._site.cpu_ns()
            found[kind] = {role: (after[role] - before[role]) / repeats / 1e6 for role in after}
        return found

    async def _settle_rollouts(self, kind: str, batch: int, repeats: int) -> None:
        if kind == "redeploy":
            last = f"mutable-{batch}-{repeats - 1}"
            while await self._site.hashes(last) != self._second:  # noqa: ASYNC110 - control switches
                await asyncio.sleep(_POLL_S)
        await self._site.settle()

    async def _kinds(self, batch: int, repeats: int) -> AsyncIterator[tuple[str, Step]]:
        """Yield each kind of change; what a kind needs exists when it is yielded."""

        def name(kind: str, number: int) -> str:
            return f"{kind}-{batch}-{number}"

        yield "deployment", lambda number: self._deploy(name("fixed", number), version=True)
        yield "virtual environment", lambda number: self._put_environment(name("testing", number))
        yield (
            "release, Testing",
            lambda number: self._release(name("testing", number), name("fixed", number)),
        )
        for number in range(repeats):
            await self._put_environment(name("stable", number), STABLE)
            await self._deploy(name("mutable", number))
        yield (
            "release, Stable",
            lambda number: self._release(name("stable", number), name("fixed", number)),
        )
        yield "redeploy", lambda number: self._deploy(name("mutable", number), self._second)
        yield (
            "undeploy",
            lambda number: self._site.send("DELETE", f"/v1/deployments/{name('mutable', number)}"),
        )

    async def rate_per_s(self, duration_s: float) -> float:
        """Return how many changes of virtual environments 8 clients make in a second."""
        end_s = time.perf_counter() + duration_s
        made = 0

        async def change(client: int) -> None:
            nonlocal made
            while time.perf_counter() < end_s:
                await self._put_environment(f"rate-{client}-{next(self._numbers)}")
                made += 1

        begin_s = time.perf_counter()
        await asyncio.gather(*(change(client) for client in range(CLIENTS)))
        return made / (time.perf_counter() - begin_s)

    async def creation_ms(self) -> float:
        """Return the time of a plan, a deployment, a virtual environment and a release."""
        name = f"whole-{next(self._numbers)}"
        begin_s = time.perf_counter()
        plan = {"name": name, "app": APP, "components": self._first}
        await self._site.send("POST", "/v1/plans", plan)
        await self._deploy(name)
        await self._put_environment(name)
        await self._release(name, name)
        return (time.perf_counter() - begin_s) * 1e3

    async def environment_s(self, *, is_used: bool) -> float:
        """Return the time of a change of a variable in the environment of all previews.

        Args:
            is_used: Whether the routes of all previews read the variable.
        """
        value = f"value-{next(self._numbers)}"
        found = await self._site.send("GET", "/v1/environments/testing")
        environment = found["object"]
        environment["data"]["vars"] = {"subPath" if is_used else "unused": value}
        begin_s = time.perf_counter()
        await self._site.send("PUT", "/v1/environments/testing", environment)
        return time.perf_counter() - begin_s

    async def make_at_rate(self, rate_per_s: float, duration_s: float) -> None:
        """Change virtual environments at a constant rate, as other users do."""
        begin_s = time.perf_counter()
        for number in range(round(rate_per_s * duration_s)):
            await asyncio.sleep(max(0, begin_s + number / rate_per_s - time.perf_counter()))
            await self._put_environment(f"others-{next(self._numbers)}")

    async def burst(self, count: int) -> None:
        """Make so many changes at once."""
        await asyncio.gather(
            *(self._put_environment(f"burst-{next(self._numbers)}") for _ in range(count))
        )

    async def toggle_release(self, number: int) -> str:
        """Release one of two previews' deployments in the first preview; return the release."""
        answer = await self._release(preview_name(0), preview_name(number % 2))
        active: dict[str, str] = answer["object"]["active"]
        return active["id"]

    async def _deploy(
        self, name: str, components: Mapping[str, str] | None = None, *, version: bool = False
    ) -> None:
        wanted = Deployment(
            name=name,
            app=APP,
            components=dict(components or self._first),
            version=name if version else None,
        )
        body = {"deployment": wanted, "components": []}
        await self._site.send("PUT", f"/v1/deployments/{name}", body)

    async def _put_environment(self, name: str, environment: str = "testing") -> None:
        body = virtual_environment(name, environment)
        await self._site.send("PUT", f"/v1/virtual-environments/{name}", body)

    async def _release(self, virtual: str, deployment: str) -> dict[str, dict[str, dict[str, str]]]:
        body = {"selector": deployment, "app": APP}
        answer: dict[str, dict[str, dict[str, str]]] = await self._site.send(
            "POST", f"/v1/releases/{virtual}", body
        )
        return answer
