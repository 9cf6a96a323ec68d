"""What became of processes, as the kernel sees it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path


def children() -> frozenset[int]:
    """Return the ids of this process's children, zombies included."""
    stats = [_read(each / "stat") for each in Path("/proc").glob("[0-9]*")]
    # "pid (name) state parent …"; the name may hold anything, a bracket included.
    split = [(stat.partition(" ")[0], stat.rpartition(")")[2].split()) for stat in stats if stat]
    return frozenset(int(pid) for pid, rest in split if int(rest[1]) == os.getpid())


async def wait_until(condition: Callable[[], bool]) -> None:
    """Return when ``condition`` holds; for what sends no word, such as a process or a file."""
    while not condition():
        await asyncio.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Return whether no process has this id."""
    return not Path(f"/proc/{pid}").exists()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
