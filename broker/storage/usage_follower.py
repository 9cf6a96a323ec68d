"""Keeps the usage index at the latest snapshot of the store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable

from broker.runtime import gc_tuning
from broker.runtime.cooperative import TimeSlice
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import UsageIndex

logger = logging.getLogger(__name__)

RETRY_S = 1.0
"""Pause after a failure."""
MANY = 10_000
"""With fewer virtual environments, an index is made in some 0.2 s, and does not wait."""
MAX_WAIT_S = 2.0
"""So long the index of a starting process may wait for ``begin``."""


class UsageFollower:
    """The usage index of a store, which moves it with each of its snapshots.

    A whole index is made in the background, because requests do not need it. Changes that arrive
    meanwhile are caught up with at its end.

    Args:
        time_slice_s: How long a move holds the event loop without yielding.
        waits: Whether the first index is begun at ``begin``, or ``MAX_WAIT_S`` after its snapshot.
    """

    def __init__(self, time_slice_s: float, *, waits: bool = False) -> None:
        self._time_slice_s = time_slice_s
        self._may_begin = asyncio.Event()
        if not waits:
            self._may_begin.set()
        self._index = UsageIndex()
        self._snapshot = self._index.snapshot
        self._missed: dict[str, None] = {}
        self._is_whole = False
        self._is_being_made = False
        self._ready = asyncio.Event()
        self._outdated = asyncio.Event()

    async def current(self) -> UsageIndex:
        """Return the index, once it is about the store's latest snapshot.

        It moves with the store: do not await anything between this and the use of the index.
        """
        # The next move may have begun before this task runs again.
        while not self._is_whole:
            await self._ready.wait()
        return self._index

    def begin(self) -> None:
        """Begin with the index: the process has started, so nothing else waits for its loop."""
        self._may_begin.set()

    async def run(self) -> None:
        """Make the index whenever it is outdated as a whole, until cancelled."""
        while True:
            await self._outdated.wait()
            if len(self._snapshot.virtual_environments) >= MANY:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(MAX_WAIT_S):
                        await self._may_begin.wait()
            self._outdated.clear()
            try:
                with gc_tuning.collection_paused():
                    await self._make()
            except Exception:
                # Without a retry, no change of the control plane could be checked any more.
                logger.exception("the usage index cannot be made, retrying")
                await asyncio.sleep(RETRY_S)
                self.rebuild(self._snapshot)

    def rebuild(self, snapshot: Snapshot) -> None:
        """Begin to make the index anew: anything may have changed."""
        self._snapshot = snapshot
        self._missed = {}
        self._is_whole, self._is_being_made = False, True
        self._ready.clear()
        self._outdated.set()

    async def follow(self, snapshot: Snapshot, keys: Iterable[str]) -> None:
        """Move the index to the next snapshot, or note that it must be moved later.

        Args:
            snapshot: The snapshot.
            keys: KV keys of the records that may have changed.
        """
        self._snapshot = snapshot
        if self._is_whole:
            self._is_whole = False
            self._ready.clear()
            await self._run(self._index.update(snapshot, keys))
            self._end()
        elif self._is_being_made:
            self._missed.update(dict.fromkeys(keys))
        else:
            # The move before was cancelled halfway.
            self.rebuild(snapshot)

    async def _make(self) -> None:
        index = UsageIndex()
        changed_versions = index.changed_versions = self._index.changed_versions
        await self._run(index.build(self._snapshot))
        while index.snapshot is not self._snapshot and not self._outdated.is_set():
            keys, self._missed = self._missed, {}
            await self._run(index.update(self._snapshot, keys))
        if not self._outdated.is_set():
            changed_versions.reset()
            self._index = index
            self._end()

    async def _run(self, steps: Iterable[None]) -> None:
        """Run steps in slices, unless the index must be made anew."""
        time_slice = TimeSlice(self._time_slice_s)
        for _ in steps:
            await time_slice.checkpoint()
            if self._outdated.is_set():
                break

    def _end(self) -> None:
        self._is_whole, self._is_being_made = True, False
        self._ready.set()
