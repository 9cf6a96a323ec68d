"""Processes as Linux shows them in ``/proc``."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")
ZOMBIE = "Z"


def family(pid: int) -> dict[int, str]:
    """Return the program names of a process and its descendants, by process id."""
    found = {pid: (PROC / str(pid) / "comm").read_text().strip()}
    for task in (PROC / str(pid) / "task").iterdir():
        for child in (task / "children").read_text().split():
            found |= family(int(child))
    return found


def is_alive(pid: int) -> bool:
    """Return whether a process is running."""
    try:
        # The name is in brackets and may contain any character.
        state = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != ZOMBIE
