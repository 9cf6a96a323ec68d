"""What the pod board is to show: what is known here is there, however often NATS goes away."""

from __future__ import annotations

import asyncio
import logging

from broker.cancelling import cancellable
from broker.pod_board import OnBoard, PodBoard
from model.errors import FoxError

logger = logging.getLogger(__name__)

_RETRY_S = 0.2


class PublishedStatuses:
    """Keeps the board equal to the statuses of one reconciler's pods and sleepers.

    Args:
        board: Where to publish. What lies there at first was left by an earlier reconciler, and
            is removed.
    """

    def __init__(self, board: PodBoard) -> None:
        """Start with no pods; see ``run``."""
        self._board = board
        self._statuses: dict[str, OnBoard] = {}
        self._published: dict[str, OnBoard | None] = dict.fromkeys(board.keys)
        self._changed = asyncio.Event()

    def put(self, status: OnBoard) -> None:
        """Have a status published soon; of several of one pod only the latest counts."""
        self._statuses[status.key] = status
        self._changed.set()

    def remove(self, status: OnBoard) -> None:
        """Have a pod or a sleeper taken off the board soon."""
        self._statuses.pop(status.key, None)
        self._changed.set()

    async def repeat(self) -> None:
        """Have everything published again: NATS was away, and may have come back without it."""
        self._published = dict.fromkeys(self._published)
        self._changed.set()

    async def run(self) -> None:
        """Publish what changes until cancelled."""
        while True:
            self._changed.clear()
            try:
                await self.publish()
            except FoxError as error:
                logger.info("pods' statuses are published later: %s", error)
                await asyncio.sleep(_RETRY_S)
            except Exception:
                logger.exception("pods' statuses are published later")
                await asyncio.sleep(_RETRY_S)
            else:
                await self._changed.wait()

    async def publish(self) -> None:
        """Return when the board shows the statuses of this moment.

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
