"""Slices of work: a list lets other tasks run after a fixed number of records or bytes.

Slices are counted instead of timed, so that a test can check them. 200 records take 1 to 2 ms.
"""

from __future__ import annotations

import asyncio

SLICE_RECORDS = 200
SLICE_BYTES = 128 << 10


class Pacing:
    """Counts the work of one list since it last yielded to the loop."""

    def __init__(self) -> None:
        self._records = 0
        self._bytes = 0

    def is_due(self, size_bytes: int = 0) -> bool:
        """Count one more record of ``size_bytes``, and return whether to call ``rest``."""
        self._records += 1
        self._bytes += size_bytes
        return self._records >= SLICE_RECORDS or self._bytes >= SLICE_BYTES

    async def rest(self) -> None:
        """Yield to the loop, and begin the next slice."""
        self._records = self._bytes = 0
        await asyncio.sleep(0)
