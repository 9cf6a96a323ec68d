"""Makes releases anew that a change of their environment has left behind, in turns with changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from broker.runtime.cooperative import TimeSlice
from routing.snapshot.snapshot import Snapshot, SnapshotBuilder

logger = logging.getLogger(__name__)

AT_ONCE = 256
"""Releases that a change makes anew, in 20 ms. A change that affects more leaves them behind."""
TURN = 64
"""Releases that are made anew in one turn, 5 ms."""
RETRY_S = 1.0
"""Pause after a failure."""

Replace = Callable[[Snapshot], Awaitable[None]]
"""Takes the next snapshot over; its records are the same."""


class ReleasesBehind:
    """The releases of one store that follow an earlier record of their environment.

    Args:
        time_slice_s: How long a turn holds the event loop without yielding.

    Attributes:
        turn: Held by each change of the store's snapshot; the next one waits, in the order of
            arrival.
    """

    def __init__(self, time_slice_s: float) -> None:
        self._time_slice_s = time_slice_s
        self._some, self._none = asyncio.Event(), asyncio.Event()
        self._none.set()
        self.turn = asyncio.Lock()

    def note(self, snapshot: Snapshot) -> None:
        """Note the releases that are behind in the store's next snapshot."""
        if snapshot.release_index.behind:
            self._some.set()
            self._none.clear()
        else:
            self._some.clear()
            self._none.set()

    async def wait_none(self) -> None:
        """Return as soon as no release is behind."""
        await self._none.wait()

    async def run(self, current: Callable[[], Snapshot], replace: Replace) -> None:
        """Make the releases anew, until cancelled.

        Args:
            current: Returns the store's snapshot.
            replace: Replaces it, and notes the next one here.
        """
        while True:
            await self._some.wait()
            try:
                async with self.turn:
                    builder = SnapshotBuilder(current())
                    await self.build(builder.refresh_behind(TURN))
                    await replace(builder.finish())
            except Exception:
                # Without a retry, these releases would follow the earlier record for ever.
                logger.exception("releases cannot be made anew for their environment, retrying")
                await asyncio.sleep(RETRY_S)

    async def build(self, steps: Iterable[None]) -> None:
        """Run the steps of a builder, and yield to the event loop in between."""
        time_slice = TimeSlice(self._time_slice_s)
        for _ in steps:
            await time_slice.checkpoint()
