"""An app whose component looks around: it reports what its code can see and do."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.slow_app import ENVIRONMENT

NAME = "spy"
MAIN = '''\
"""Reports what this process can see and do."""

import json
import os
import resource
import stat
import subprocess
import tempfile
from pathlib import Path

from fox import Context, Kit

kit = Kit(title="Spy")


@kit.route("Path(`/facts`)")
async def facts(ctx: Context) -> dict:
    """Return the state of this process."""
    os.makedirs("left/behind", exist_ok=True)
    Path("file").write_text("mine")
    status = Path("/proc/self/status").read_text().splitlines()
    return {
        "environ": dict(os.environ),
        "kernel_environ": Path("/proc/self/environ").read_text(),
        "child_environ": subprocess.run(["env"], capture_output=True, text=True).stdout,
        "folder": os.getcwd(),
        "folder_mode": stat.S_IMODE(os.stat(".").st_mode),
        "file_mode": stat.S_IMODE(os.stat("file").st_mode),
        "temporary": tempfile.gettempdir(),
        "no_new_privs": "NoNewPrivs:\\t1" in status,
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "memory": resource.getrlimit(resource.RLIMIT_DATA),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "processes": resource.getrlimit(resource.RLIMIT_NPROC),
        "uid": os.getuid(),
        "pid": os.getpid(),
    }


@kit.route("Path(`/read`)")
async def read(ctx: Context) -> dict:
    """Return the names in a folder, or the reason why they cannot be read."""
    try:
        return {"names": sorted(os.listdir(ctx.query["folder"]))}
    except OSError as error:
        return {"error": error.strerror}


@kit.route("Path(`/fill`)")
async def fill(ctx: Context) -> str:
    """Take memory."""
    return str(len(bytearray(int(ctx.query["bytes"]))))


@kit.route("Path(`/fork`)")
async def fork(ctx: Context) -> str:
    """Start processes until that is refused, end them, and return how many there were."""
    children = []
    try:
        while len(children) < int(ctx.query["most"]):
            children.append(subprocess.Popen(["sleep", "60"]))
    except OSError:
        pass
    for child in children:
        child.kill()
        child.wait()
    return str(len(children))
'''


def build(folder: Path, main: str = MAIN) -> None:
    """Make ``folder`` a repository with the app, uncommitted."""
    component = folder / "components" / NAME
    component.mkdir(parents=True)
    (component / "main.py").write_text(main)
    (folder / "app.yaml").write_text(f"name: {NAME}\n")
    (folder / "environments.yaml").write_text(ENVIRONMENT)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
