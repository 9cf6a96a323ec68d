"""The activator: reviews pending releases and rollouts when data or pods change, and at deadlines.

The control role runs one. Several may run at once: each state change is a compare-and-set.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Self, assert_never

from broker.storage.pod_board import PodBoard
from broker.storage.store import Store
from control.releases import Releases
from control.review_agenda import Agenda, Review, ReviewKind
from control.rollouts import Rollouts
from kubefox.errors import RevisionConflict, Unavailable

logger = logging.getLogger(__name__)

RETRY_S = 1.0
_FAILED = "review of pending releases and rollouts failed"
# The event loop's clock and the wall clock differ, so a review waits until just after a deadline.
_AFTER_DEADLINE_S = 0.01


class Activator:
    """Reviews pending releases and rollouts while its context lasts.

    Args:
        releases: The releases to review.
        rollouts: The rollouts to review.
        store: Its changes start a review.
        board: Its changes start a review.
        retry_s: Pause after a review that failed.
        now: Clock, Unix time in seconds; the same as that of ``releases``.

    Attributes:
        reviews: How many reviews were begun.
    """

    def __init__(
        self,
        releases: Releases,
        rollouts: Rollouts,
        store: Store,
        board: PodBoard,
        *,
        retry_s: float = RETRY_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._releases = releases
        self._rollouts = rollouts
        self._store = store
        self._board = board
        self._retry_s = retry_s
        self._now = now
        self._agenda = Agenda()
        self._keys_position = -1
        self._pods_position = -1
        self._is_waiting = False
        self.reviews = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether all that the latest data and pods make due has been reviewed."""
        return (
            self._is_waiting
            and self._keys_position == self._store.changes.position
            and self._pods_position == self._board.changed_versions.position
        )

    async def __aenter__(self) -> Self:
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(), name="activator")
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Stop after the review that is running.

        The task is not cancelled: nats-py sends its requests through ``asyncio.wait_for``, which on
        Python 3.11 loses a cancellation that comes together with the answer.
        """
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            revision, changes = self._store.snapshot.revision, self._board.changes
            try:
                timeout_s = await self._review_due()
            except (Unavailable, RevisionConflict) as error:
                logger.warning("%s, retrying in %g s: %s", _FAILED, self._retry_s, error)
                timeout_s = self._retry_s
            except Exception:
                logger.exception("%s, retrying in %g s", _FAILED, self._retry_s)
                timeout_s = self._retry_s
            await self._wait(revision, changes, timeout_s)

    async def _review_due(self) -> float | None:
        """Review all that is due, and return the time until the next review must run."""
        await self._note_changes()
        while (review := self._agenda.take()) is not None:
            try:
                await self._review(review)
            except BaseException:
                self._agenda.put_back(review)
                raise
        next_s = self._agenda.next_s()
        return None if next_s is None else max(0.0, next_s - self._now()) + _AFTER_DEADLINE_S

    async def _note_changes(self) -> None:
        usage = await self._store.usage()
        keys, pods = self._store.changes, self._board.changed_versions
        self._agenda.note_data(keys.since(self._keys_position), usage)
        self._agenda.note_pods(pods.since(self._pods_position), usage)
        self._agenda.note_time(self._now())
        self._keys_position, self._pods_position = keys.position, pods.position

    async def _review(self, review: Review) -> None:
        self.reviews += 1
        match review.kind:
            case ReviewKind.RELEASE:
                await self._releases.review(review.name)
                deadline_s, problems = self._releases.pending(review.name)
            case ReviewKind.ROLLOUT:
                await self._rollouts.review(review.name)
                deadline_s, problems = self._rollouts.pending(review.name)
            case _:
                assert_never(review.kind)
        is_held_up = any(problem.type != "PodNotReady" for problem in problems)
        self._agenda.note_reviewed(review, deadline_s, is_held_up=is_held_up)

    async def _wait(self, revision: int, changes: int, timeout_s: float | None) -> None:
        """Wait until data or pods change, the time is over, or the activator stops."""
        waits: list[asyncio.Task[object]] = [
            asyncio.create_task(self._store.wait_change(revision)),
            asyncio.create_task(self._board.wait_change(changes)),
            asyncio.create_task(self._stopping.wait()),
        ]
        self._is_waiting = True
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._is_waiting = False
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
