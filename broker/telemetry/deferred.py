"""Work on completed events, deferred until their answers are written.

The requester does not wait for its event to be counted. Counting many events at once also costs
half of counting each between other work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

Defer = Callable[[Callable[[], None]], object]
"""Calls a function later, when no requester waits for the event loop."""


class DeferredQueue(Generic[T]):
    """Items that are processed together, later; each at once until ``defer`` is called.

    Args:
        process: Processes a list of items; raises nothing.

    Attributes:
        waiting: Items that are not processed yet.
    """

    def __init__(self, process: Callable[[list[T]], None]) -> None:
        self._process = process
        self._defer: Defer | None = None
        self.waiting: list[T] = []

    def defer(self, defer: Defer | None) -> None:
        """Process the waiting items now, and later ones by ``defer``, or at once without it."""
        self.flush()
        self._defer = defer

    def add(self, item: T) -> None:
        """Add an item. The first one that waits schedules the processing of all."""
        waiting = self.waiting
        if waiting:
            waiting.append(item)
        elif self._defer is None:
            self._process([item])
        else:
            waiting.append(item)
            self._defer(self.flush)

    def flush(self) -> None:
        """Process the waiting items now."""
        if self.waiting:
            items, self.waiting = self.waiting, []
            self._process(items)
