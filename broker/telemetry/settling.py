"""What is still to be done about events that have ended, once what they led to is on its way.

Whoever waits for an answer does not wait for it to be counted. And what is done for many events at
once costs half of what it would cost in between everything else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from broker.telemetry.tracing import Tracing

logger = logging.getLogger(__name__)

Later = Callable[[Callable[[], None]], object]
"""Calls something when nobody waits for what is done now."""


class Ended(Protocol):
    """An event that has ended."""

    def settle(self) -> None:
        """Count it, and put its spans by or on their way."""


class _AtOnce(list[Ended]):
    """Takes events that nothing is to be gained by leaving for later."""

    def append(self, ended: Ended, /) -> None:
        _settle((ended,))


class Settling:
    """The events of one process that have ended.

    Args:
        tracing: Takes their spans.

    Attributes:
        tracing: As it was given.
        ended: Those that are yet to be settled.
    """

    def __init__(self, tracing: Tracing) -> None:
        """Start with none, and settle each at once: there is no connection yet."""
        self.tracing = tracing
        self.ended: list[Ended] = _AtOnce()
        self._later: Later | None = None

    def defer(self, later: Later | None) -> None:
        """Settle events by ``later`` from now on, or each at once; those that wait are settled."""
        self.settle()
        self._later = later
        self.ended = _AtOnce() if later is None else []

    def put(self, ended: Ended) -> None:
        """Settle an event soon."""
        if not self.ended:
            self.begin()
        self.ended.append(ended)

    def begin(self) -> None:
        """Settle soon all that end from now on until then."""
        if self._later is not None:
            self._later(self.settle)

    def settle(self) -> None:
        """Settle all that have ended until now."""
        if self.ended:
            ended, self.ended = self.ended, []
            _settle(ended)


def _settle(ended: Iterable[Ended]) -> None:
    for each in ended:
        try:
            each.settle()
        except Exception:
            logger.exception("an event could not be counted")
