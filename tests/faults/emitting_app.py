"""An app that emits jobs on request; its worker handles them by files in a folder.

The worker creates ``begun-<name>-<process>-<number>`` when it begins a job and ``done-<name>-…``
when it ends. What it does depends on the job's name, up to the first dash:

- ``poison`` kills the worker's process.
- ``thread`` runs ``sleep_s`` in a thread, over the time limit of the handler.
- ``calls`` calls the component ``clerk``, which notes the job as done.
- ``gated`` waits for the file ``end``.
- Others take ``sleep_s``.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import urlencode

import aiohttp

from examples.demo.platform import Platform
from tests.e2e.slow_app import ENVIRONMENT

LIMIT_S = 0.5

_WEB = '''\
"""Emits jobs."""

from fox import Context, Kit

kit = Kit()
worker = kit.component("worker")


@kit.route("Path(`/emit`)")
async def emit(ctx: Context) -> str:
    """Emit the jobs that the query names."""
    for name in ctx.query["names"].split(","):
        job = {"name": name, "signs": ctx.query["signs"], "sleep_s": float(ctx.query["sleep_s"])}
        await worker.emit("/jobs", ctx=ctx, json=job, delay_s=float(ctx.query["delay_s"]))
    return "stored"
'''
_WORKER = '''\
"""Handles jobs."""

import asyncio
import os
import signal
import time
from pathlib import Path

from fox import Context, Kit

kit = Kit()
clerk = kit.component("clerk")


def work(path: Path, name: str, sleep_s: float) -> None:
    """Note the begin and the end of a job, which nothing can stop."""
    run = f"{name}-{os.getpid()}-{time.monotonic_ns()}"
    (path / f"begun-{run}").write_text(repr(time.monotonic()))
    time.sleep(sleep_s)
    (path / f"done-{run}").write_text(repr(time.monotonic()))


@kit.default(timeout_s=LIMIT_S)
async def handle(ctx: Context) -> None:
    """Do a job."""
    job = ctx.json()
    name, path = job["name"], Path(job["signs"])
    kind = name.partition("-")[0]
    if kind == "thread":
        loop = asyncio.get_running_loop()
        # A thread that has not begun at the limit would never begin.
        await asyncio.shield(loop.run_in_executor(None, work, path, name, job["sleep_s"]))
        return
    run = f"{name}-{os.getpid()}-{time.monotonic_ns()}"
    (path / f"begun-{run}").touch()
    if kind == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "calls":
        response = await clerk.post("/", ctx=ctx, json={"file": str(path / f"done-{run}")})
        if not response.is_ok:
            raise ValueError(f"the clerk answered {response.status}")
        return
    while kind == "gated" and not (path / "end").exists():
        await asyncio.sleep(0.02)
    await asyncio.sleep(job["sleep_s"])
    (path / f"done-{run}").touch()
'''


_CLERK = '''\
"""Notes what is done."""

from pathlib import Path

from fox import Context, Kit

kit = Kit()


@kit.default
async def note(ctx: Context) -> None:
    """Create a file."""
    Path(ctx.json()["file"]).touch()
'''


def build(folder: Path, *, limit_s: float = 30) -> None:
    """Make ``folder`` a repository with the app, uncommitted."""
    for name, source in (("web", _WEB), ("worker", _WORKER), ("clerk", _CLERK)):
        component = folder / "components" / name
        component.mkdir(parents=True, exist_ok=True)
        (component / "main.py").write_text(source.replace("LIMIT_S", f"{limit_s:g}"))
    (folder / "app.yaml").write_text("name: jobs\n")
    _, second = ENVIRONMENT.split("---\n")
    second = second.replace("name: here", "name: there")
    (folder / "environments.yaml").write_text(f"{ENVIRONMENT}---\n{second}")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


async def deploy(platform: Platform, folder: Path, *, limit_s: float = 30) -> None:
    """Build the app in ``folder``, and deploy it as ``app`` in the two environments."""
    build(folder, limit_s=limit_s)
    await platform.fox("apply", "-f", "environments.yaml", cwd=folder)
    await platform.fox("deploy", "app", "--dirty", "--wait", cwd=folder)


async def emit(
    platform: Platform,
    names: list[str],
    signs: Path,
    *,
    sleep_s: float = 0,
    delay_s: float = 0,
    environment: str = "here",
) -> None:
    """Make web emit one job for each name, in their order."""
    query = urlencode(
        {
            "kf-dep": "app",
            "kf-ve": environment,
            "names": ",".join(names),
            "signs": str(signs),
            "sleep_s": sleep_s,
            "delay_s": delay_s,
        }
    )
    async with aiohttp.request("GET", f"{platform.http_url}/emit?{query}") as answer:
        assert answer.status == 200, await answer.text()


def begun(signs: Path) -> list[str]:
    """Return the name of each job that has begun, as often as it has."""
    return _names(signs, "begun")


def done(signs: Path) -> list[str]:
    """Return the name of each job that is done, as often as it was."""
    return _names(signs, "done")


def _names(signs: Path, state: str) -> list[str]:
    return sorted(path.name.split("-", 1)[1].rsplit("-", 2)[0] for path in signs.glob(f"{state}-*"))
