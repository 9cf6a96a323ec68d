"""The state of processes, as the kernel reports it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path


def children() -> frozenset[int]:
    """Return the ids of this process's children, zombies included."""
    stats = [_read(process / "stat") for process in Path("/proc").glob("[0-9]*")]
    # "pid (name) state parent …"; the name may hold anything, a bracket included.
    split = [(stat.partition(" ")[0], stat.rpartition(")")[2].split()) for stat in stats if stat]
    return frozenset(int(pid) for pid, rest in split if int(rest[1]) == os.getpid())


async def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until ``condition`` holds; for processes and files, which send no notification."""
    while not condition():
        await asyncio.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Return whether no process with this id runs."""
    # This process may have adopted it from a process that a test killed: then it stays a zombie.
    return _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[:1] in ([], ["Z"])


def reap_zombies() -> frozenset[int]:
    """Reap the children that this process has adopted from those that a test killed.

    Returns:
        The ids of the children that are left.
    """
    for pid in children():
        if is_gone(pid):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    return children()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
