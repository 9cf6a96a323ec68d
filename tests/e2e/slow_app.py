"""An app that waits for a signal file or blocks for a time, as a test requests."""

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
    """Create the file ``begun``, and answer when the file ``end`` exists."""
    signals = Path(ctx.query["signals"])
    (signals / "begun").touch()
    while not (signals / "end").exists():
        await asyncio.sleep(0.02)
    return "done"


@kit.route("Path(`/block`)")
async def block(ctx: Context) -> str:
    """Block the event loop, which a handler must not do."""
    time.sleep(float(ctx.query["for_s"]))
    return "done"
'''


def build(folder: Path) -> None:
    """Create a repository with the app in ``folder``, uncommitted."""
    component = folder / "components" / "slow"
    component.mkdir(parents=True)
    (component / "main.py").write_text(_MAIN)
    (folder / "app.yaml").write_text("name: slow\n")
    (folder / "environments.yaml").write_text(ENVIRONMENT)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
