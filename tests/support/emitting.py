"""An app of two components: one emits jobs on request, the other handles them by signal files.

The signal files are in a folder that the request names: the worker creates ``<name>-<attempt>``
when it begins and ``<name>-done-<attempt>`` when it ends. Jobs called ``slow`` wait for the file
``end``, those called ``poison`` fail until there is a file ``cured``, and ``refused`` ones are
refused.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

_ENVIRONMENTS = """\
apiVersion: kubefox.xigxog.io/v1alpha1
kind: Environment
metadata: {name: APP}
---
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: {name: APP}
spec: {environment: APP}
"""
_WEB = '''\
"""Emits."""

from fox import Context, Kit

kit = Kit()
worker = kit.component("worker")


@kit.route("Path(`/APP/{name}`)")
async def order(ctx: Context) -> str:
    """Emit a job and return."""
    name = ctx.params["name"]
    job = {"name": name, "signals": ctx.query["signals"]}
    is_new = await worker.emit("/jobs", ctx=ctx, json=job, key=ctx.query.get("key", ""))
    return "stored" if is_new else "known"
'''
_WORKER = '''\
"""Handles jobs."""

import asyncio
from pathlib import Path

from fox import Context, Kit, Response

kit = Kit()


@kit.default
async def work(ctx: Context) -> Response | None:
    """Do a job, which ends when its file exists."""
    job = ctx.json()
    name, signals = job["name"], Path(job["signals"])
    (signals / f"{name}-{ctx.attempt}").touch()
    while name == "slow" and not (signals / "end").exists():
        await asyncio.sleep(0.02)
    if name == "poison" and not (signals / "cured").exists():
        raise ValueError("poisoned")
    (signals / f"{name}-done-{ctx.attempt}").touch()
    return Response(status=404) if name == "refused" else None
'''


def build(folder: Path, app: str) -> None:
    """Make ``folder`` a repository with the app, uncommitted, and environments of its name."""
    for name, code in (("web", _WEB), ("worker", _WORKER)):
        component = folder / "components" / name
        component.mkdir(parents=True)
        (component / "main.py").write_text(code.replace("APP", app))
    (folder / "app.yaml").write_text(f"name: {app}\n")
    (folder / "environments.yaml").write_text(_ENVIRONMENTS.replace("APP", app))
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def done(signals: Path, name: str) -> list[str]:
    """Return the attempts at which a job has ended."""
    return sorted(path.name.rpartition("-")[2] for path in signals.glob(f"{name}-done-*"))
