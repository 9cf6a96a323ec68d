"""An app that waits for a sign, or for a time, so that a test decides how long it takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

ENVIRONMENT = """\
apiVersion: kubefox.xigxog.io/v1alpha1
kind: Environment
metadata: {name: base}
---
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: {name: here}
spec: {environment: base}
"""
_MAIN = '''\
"""Waits for a sign."""

import asyncio
import time
from pathlib import Path

from fox import Context, Kit

kit = Kit(title="Slow")


@kit.route("Path(`/slow`)")
async def wait(ctx: Context) -> str:
    """Say that it has begun, and end when it is told to."""
    signs = Path(ctx.query["signs"])
    (signs / "begun").touch()
    while not (signs / "end").exists():
        await asyncio.sleep(0.02)
    return "done"


@kit.route("Path(`/block`)")
async def block(ctx: Context) -> str:
    """Hold up the event loop, as a handler never should."""
    time.sleep(float(ctx.query["for_s"]))
    return "done"
'''


def build(folder: Path) -> None:
    """Make ``folder`` a repository with the app, uncommitted."""
    component = folder / "components" / "slow"
    component.mkdir(parents=True)
    (component / "main.py").write_text(_MAIN)
    (folder / "app.yaml").write_text("name: slow\n")
    (folder / "environments.yaml").write_text(ENVIRONMENT)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
