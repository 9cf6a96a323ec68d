"""The release activator: reviews pending releases whenever data or pods change, or time is up.

The control role runs one. Several at once do no harm: each step is a compare-and-set.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from broker.control.releases import Releases
from broker.pod_board import PodBoard
from broker.store import Store
from model.errors import RevisionConflict, Unavailable

logger = logging.getLogger(__name__)

RETRY_S = 1.0
# A deadline is looked at a little after it has passed, never before: clocks of two kinds differ.
_LATE_S = 0.01


class ReleaseActivator:
    """Works while its context lasts.

    Args:
        releases: What to review.
        store: Whose changes it waits for.
        board: Whose changes it waits for.
        now: Clock, Unix time in seconds; the one of ``releases``.
    """

    def __init__(
        self,
        releases: Releases,
        store: Store,
        board: PodBoard,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; nothing is reviewed before the context is entered."""
        self._releases = releases
        self._store = store
        self._board = board
        self._now = now
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(), name="release-activator")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; a review that has begun is finished.

        Nothing is cancelled: nats-py sends its requests through ``asyncio.wait_for``, which on
        Python 3.11 loses a cancellation that comes together with the answer.
        """
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            revision, changes = self._store.snapshot.revision, self._board.changes
            patience_s = await self._review_all()
            await self._wait(revision, changes, patience_s)

    async def _review_all(self) -> float | None:
        """Review every pending release; return how long nothing can happen by itself."""
        try:
            for state in tuple(self._store.snapshot.releases.values()):
                if state.pending is not None:
                    await self._releases.review(state.virtual_environment)
        except (Unavailable, RevisionConflict) as error:
            logger.warning("releases cannot be reviewed, trying again: %s", error)
            return RETRY_S
        except Exception:
            logger.exception("releases could not be reviewed, trying again")
            return RETRY_S
        next_s = min(self._releases.deadlines_s(), default=None)
        return None if next_s is None else max(0.0, next_s - self._now()) + _LATE_S

    async def _wait(self, revision: int, changes: int, patience_s: float | None) -> None:
        """Return when data or pods have changed since, the patience is over, or it is to end."""
        waits: list[asyncio.Task[object]] = [
            asyncio.create_task(self._store.wait_change(revision)),
            asyncio.create_task(self._board.wait_change(changes)),
            asyncio.create_task(self._stopping.wait()),
        ]
        try:
            await asyncio.wait(waits, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
