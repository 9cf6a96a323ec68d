"""An app whose components start threads and processes that may outlive a pod."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.slow_app import ENVIRONMENT

_HEAD = '''\
"""Starts threads or processes, and ends as the request says."""

import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time

from fox import Context, Kit

kit = Kit(title="Tree")
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@kit.route("Path(`/{component}/crash`)")
async def crash(ctx: Context) -> str:
    """End without a word."""
    os._exit(3)


@kit.route("Path(`/{component}/hold`)")
async def hold(ctx: Context) -> str:
    """Keep the interpreter's lock in C code."""
    re.match("(a*)*b", "a" * 64)


@kit.route("Path(`/{component}`)")
async def start(ctx: Context) -> str:
    """Start it, once."""
    begin()
    return "started"


'''

KINDS = {
    "thread": """\
def begin() -> None:
    threading.Thread(target=time.sleep, args=(600,), daemon=False).start()
""",
    "session": """\
def begin() -> None:
    subprocess.Popen(SLEEP, start_new_session=True)
""",
    "daemon": """\
DAEMON = '''
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
'''

def begin() -> None:
    subprocess.run([sys.executable, "-c", DAEMON], check=True)
""",
    "pool": """\
def begin() -> None:
    global pool
    pool = multiprocessing.get_context("fork").Pool(2)
    pool.map_async(time.sleep, [600, 600])
""",
}


def build(folder: Path) -> None:
    """Make ``folder`` a repository with the app, uncommitted: one component for each kind."""
    for kind, source in KINDS.items():
        component = folder / "components" / kind
        component.mkdir(parents=True)
        (component / "main.py").write_text(_HEAD.replace("{component}", kind) + source)
    (folder / "app.yaml").write_text("name: tree\n")
    (folder / "environments.yaml").write_text(ENVIRONMENT)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
