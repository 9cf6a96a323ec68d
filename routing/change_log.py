"""A log of the latest changes, for readers that follow them at their own pace."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

MAX_CHANGES = 4_096
"""Changes that are kept. A reader that is further behind reads everything again."""


class ChangeLog(Generic[Item]):
    """The latest changes, in order.

    Args:
        limit: How many changes are kept.

    Attributes:
        position: Number of the changes so far; a reader passes it to ``since`` later.
    """

    __slots__ = ("_changes", "_start", "position")

    def __init__(self, limit: int = MAX_CHANGES) -> None:
        self._changes: deque[Item] = deque(maxlen=limit)
        self._start = 0
        self.position = 0

    def add(self, item: Item) -> None:
        """Note that an item has changed."""
        self._changes.append(item)
        self.position += 1

    def reset(self) -> None:
        """Note that anything may have changed: all readers must read everything again."""
        self._changes.clear()
        self.position += 1
        self._start = self.position

    def since(self, position: int) -> dict[Item, None] | None:
        """Return the items that have changed after a position, each once.

        The cost is proportional to the changes after the position.

        Args:
            position: An earlier ``position``; below 0 if nothing was read so far.

        Returns:
            None if the changes are not kept any more: the reader must read everything again.
        """
        count = self.position - position
        if position < self._start or count > len(self._changes):
            return None
        return dict.fromkeys(islice(reversed(self._changes), count))
