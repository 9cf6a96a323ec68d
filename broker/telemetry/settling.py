"""What is still to be done about events that have ended, once what they led to is on its way.

Whoever waits for an answer does not wait for it to be counted. And what is done for all events of
one turn of the loop at once costs half of what it would cost in between everything else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from broker.telemetry.tracing import Tracing

logger = logging.getLogger(__name__)

Later = Callable[[Callable[[], None]], object]
"""Calls something when all that is sent in this turn of the loop has been written."""


class Ended(Protocol):
    """An event that has ended."""

    def settle(self) -> None:
        """Count it, and put its spans by or on their way."""


class Settling:
    """The events of one process that have ended.

    Args:
        tracing: Takes their spans.

    Attributes:
        tracing: As it was given.
        later: How to do something later; without it, as before there is a connection, all is
            done at once.
    """

    def __init__(self, tracing: Tracing) -> None:
        """Start with none."""
        self.tracing = tracing
        self._ended: list[Ended] = []
        self.later: Later | None = None

    def put(self, ended: Ended) -> None:
        """Settle an event soon."""
        if self.later is None:
            ended.settle()
            return
        if not self._ended:
            self.later(self.settle)
        self._ended.append(ended)

    def settle(self) -> None:
        """Settle all that have ended until now."""
        ended, self._ended = self._ended, []
        for each in ended:
            try:
                each.settle()
            except Exception:
                logger.exception("an event could not be counted")
