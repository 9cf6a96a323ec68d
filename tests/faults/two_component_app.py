"""An app whose requests take 20 ms: one component that answers, and one that calls it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Protocol

from tests.e2e.slow_app import ENVIRONMENT

HANDLES_POST = "handles a POST request"
"""The line that the API prints for each POST request."""

SELECTORS = "kf-dep=app&kf-ve=here"
API_PATH = f"/api?{SELECTORS}"
TICKS_PATH = f"/ticks?{SELECTORS}"
WEB_PATH = f"/web?{SELECTORS}"

_API = '''\
"""Answers after 20 ms."""

import asyncio

from fox import Context, Kit, Response

kit = Kit(title="API")


async def ticks():
    while True:
        yield b"tick"
        await asyncio.sleep(0.1)


@kit.route("Path(`/ticks`)")
async def tick(ctx: Context) -> Response:
    """Stream until the client leaves."""
    return Response.stream(ticks())


@kit.route("Path(`/api`)")
@kit.default
async def work(ctx: Context) -> str:
    """Take some time."""
    if ctx.method == "POST":
        print("handles a POST request", flush=True)
    await asyncio.sleep(0.02)
    return "done"
'''
_WEB = '''\
"""Asks the API."""

from fox import Context, Kit, Response

kit = Kit(title="Web")
api = kit.component("api")


@kit.route("Path(`/web`)")
async def page(ctx: Context) -> Response:
    """Return the answer of the API."""
    return await api.request(ctx.method, "/", ctx=ctx, body=ctx.body)
'''


def build(folder: Path) -> None:
    """Make ``folder`` a repository with the app, uncommitted."""
    for name, source in (("api", _API), ("web", _WEB)):
        component = folder / "components" / name
        component.mkdir(parents=True)
        (component / "main.py").write_text(source)
    (folder / "app.yaml").write_text("name: two\n")
    (folder / "environments.yaml").write_text(ENVIRONMENT)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


class Commands(Protocol):
    """Runs ``fox`` commands for a platform."""

    async def fox(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run a command that succeeds, and return its output."""


def environments(count: int, prefix: str = "here") -> tuple[str, list[str]]:
    """Return virtual environments as a YAML document, and the path of ``web`` in each."""
    names = [f"{prefix}-{number}" for number in range(count)]
    _, virtual_environment = ENVIRONMENT.split("---\n")
    document = "---\n".join(
        virtual_environment.replace("name: here", f"name: {name}") for name in names
    )
    return document, [f"/web?kf-dep=app&kf-ve={name}" for name in names]


async def deploy(platform: Commands, folder: Path) -> None:
    """Build the app in ``folder``, and deploy it as ``app`` in the environment ``here``."""
    build(folder)
    await platform.fox("apply", "-f", "environments.yaml", cwd=folder)
    await platform.fox("deploy", "app", "--dirty", "--wait", cwd=folder)
