"""Publish entries of the pod board, again and again if NATS is unavailable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from broker.runtime.cancelling import cancellable
from broker.storage.pod_board import BoardEntry, PodBoard
from kubefox.errors import FoxError
from kubefox.pod import PodStatus

logger = logging.getLogger(__name__)

_RETRY_S = 0.2


class StatusPublisher:
    """Makes one writer's part of the board equal to its entries.

    Args:
        board: The board to write to.
        owned: Keys of entries that an earlier writer has left; they are removed or replaced.
    """

    def __init__(self, board: PodBoard, owned: Iterable[str]) -> None:
        self._board = board
        self._statuses: dict[str, BoardEntry] = {}
        self._published: dict[str, BoardEntry | None] = dict.fromkeys(owned)
        self._changed = asyncio.Event()

    def put(self, status: BoardEntry) -> None:
        """Queue an entry; only the latest one of a key is published."""
        self._statuses[status.key] = status
        self._changed.set()

    def remove(self, status: BoardEntry) -> None:
        """Queue the removal of an entry from the board."""
        self._statuses.pop(status.key, None)
        self._changed.set()

    def has_replica(self, pod: PodStatus) -> bool:
        """Return whether another pod that is ready serves the version of ``pod``."""
        return self._board.has_replica(pod)

    async def publish_again(self) -> None:
        """Queue all statuses: after a restart NATS may have lost them."""
        self._published = dict.fromkeys(self._published)
        self._changed.set()

    async def run(self) -> None:
        """Publish changes until cancelled."""
        while True:
            self._changed.clear()
            try:
                await self.publish()
            except FoxError as error:
                logger.info("pod statuses cannot be published, retrying: %s", error)
                await asyncio.sleep(_RETRY_S)
            except Exception:
                logger.exception("pod statuses cannot be published, retrying")
                await asyncio.sleep(_RETRY_S)
            else:
                await self._changed.wait()

    async def publish(self) -> None:
        """Publish all queued changes.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        for key, status in tuple(self._statuses.items()):
            if self._published.get(key) != status:
                await cancellable(self._board.publish(status))
                self._published[key] = status
        for key in self._published.keys() - self._statuses.keys():
            await cancellable(self._board.remove(key))
            self._published.pop(key, None)
