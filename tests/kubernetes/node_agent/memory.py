"""Ends a process that needs more memory than its container may have, as the kernel does."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from pods.kubernetes.api import Object

_POLL_S = 0.2
_UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 10**3, "M": 10**6, "G": 10**9}


def memory_limit(container: Object) -> int:
    """Return the limit of a container in bytes; 0 for none."""
    text = str(container.get("resources", {}).get("limits", {}).get("memory", "0"))
    found = re.fullmatch(r"(\d+)([KMGki]*)", text)
    assert found is not None, text
    return int(found[1]) * _UNITS[found[2]]


async def wait_exceeded(pid: int, limit: int) -> None:
    """Return when a process has more memory than ``limit`` bytes; never for 0."""
    while not limit or _resident_bytes(pid) <= limit:
        await asyncio.sleep(_POLL_S if limit else 3600)


def _resident_bytes(pid: int) -> int:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
