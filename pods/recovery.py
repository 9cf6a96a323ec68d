"""Wait until a version without a ready pod has one again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from kubefox.distill import Version


class Recovery:
    """Lets requests wait for the next change of a version's pods.

    Args:
        is_recovering: Returns whether no pod of a version is ready, and one soon may be.
    """

    def __init__(self, is_recovering: Callable[[Version], bool]) -> None:
        self._is_recovering = is_recovering
        self._changed: dict[Version, asyncio.Event] = {}

    def on_change(self, version: Version) -> None:
        """Note that a pod of the version became ready, died or ended."""
        if changed := self._changed.pop(version, None):
            changed.set()

    def is_awaited(self, version: Version) -> bool:
        """Return whether a request waits for a pod of the version."""
        return version in self._changed

    async def wait(self, version: Version, timeout_s: float) -> None:
        """Return once a version does not recover any more, or after the time-out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._is_recovering(version):
                    await self._changed.setdefault(version, asyncio.Event()).wait()
