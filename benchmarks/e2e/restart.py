"""How soon a restarted platform answers: ``python -m benchmarks.e2e.restart``.

An app of 6 components is released, and another one of 40 is deployed. ``fox up`` is stopped and
started again. The time runs from the start of the process to the first 200 of a plain URL, and to
the readiness of all pods.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from examples.demo.platform import Platform

RELEASED = 6
OTHERS = 40
ROUNDS = 5
_POLL_S = 0.01
_ENVIRONMENTS = """\
apiVersion: kubefox.xigxog.io/v1alpha1
kind: Environment
metadata: {name: base}
spec: {releasePolicy: {type: Testing}}
---
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: {name: live}
spec: {environment: base}
"""
_COMPONENT = '''\
"""A component of the benchmark."""

from fox import Context, Kit

kit = Kit(title="{name}")


@kit.route("Path(`/{name}`)")
async def respond(ctx: Context) -> str:
    """Return the name."""
    return "{name}"
'''


def build(folder: Path, app: str, components: int) -> None:
    """Make ``folder`` an app of so many components, uncommitted."""
    for number in range(components):
        name = f"{app}-{number}"
        component = folder / "components" / name
        component.mkdir(parents=True)
        (component / "main.py").write_text(_COMPONENT.format(name=name))
    (folder / "app.yaml").write_text(f"name: {app}\n")
    (folder / "environments.yaml").write_text(_ENVIRONMENTS)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


async def deploy(platform: Platform, folder: Path) -> None:
    """Deploy both apps, and release one of them."""
    for app, components in (("shop", RELEASED), ("other", OTHERS)):
        build(folder / app, app, components)
        await platform.fox("apply", "-f", "environments.yaml", cwd=folder / app)
        await platform.fox("deploy", f"{app}-1", "--dirty", cwd=folder / app)
    await platform.fox("release", "shop-1", "--virtual-env", "live")


async def first_answer_s(platform: Platform, name: str, begin_s: float) -> float:
    """Return the time until a component answers a plain URL with 200."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{platform.http_url}/{name}") as response:
                if response.status == 200:
                    return time.monotonic() - begin_s
            await asyncio.sleep(_POLL_S)


async def all_ready_s(platform: Platform, begin_s: float) -> float:
    """Return the time until every pod is ready."""
    async with aiohttp.ClientSession(headers=platform.credentials) as session:
        while True:
            async with session.get(f"{platform.control_url}/v1/pods?phase=ready") as response:
                page = await response.json()
            if len(page["items"]) == RELEASED + OTHERS:
                return time.monotonic() - begin_s
            await asyncio.sleep(5 * _POLL_S)


async def measure(folder: Path) -> dict[str, float]:
    """Return the medians over all rounds."""
    async with Platform(folder / "data") as platform:
        await deploy(platform, folder)
        await platform.wait_pods(RELEASED + OTHERS)
    rounds: dict[str, list[float]] = {"first": [], "last": [], "all": []}
    for _ in range(ROUNDS):
        begin_s = time.monotonic()
        async with Platform(folder / "data") as platform:
            names = [f"shop-{number}" for number in range(RELEASED)]
            answers = await asyncio.gather(
                *(first_answer_s(platform, name, begin_s) for name in names)
            )
            rounds["first"].append(min(answers))
            rounds["last"].append(max(answers))
            rounds["all"].append(await all_ready_s(platform, begin_s))
    return {name: round(statistics.median(times), 2) for name, times in rounds.items()}


def main() -> None:
    """Print the medians as JSON, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(asyncio.run(measure(Path(folder)))) + "\n")


if __name__ == "__main__":
    main()
