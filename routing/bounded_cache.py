"""A cache of bounded size whose hit costs one dictionary look-up."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class BoundedCache(Generic[Key, Item]):
    """A cache that keeps recently used items, in two generations.

    When the young generation is full, it becomes the old one and the previous old one is dropped.
    Therefore the last ``generation`` used items are always kept, and at most twice as many. A hit
    does not pay for the bookkeeping of an exact least-recently-used order.

    Args:
        generation: Size of one generation.
    """

    __slots__ = ("_generation", "_old", "_young")

    def __init__(self, generation: int) -> None:
        self._generation = generation
        self._young: dict[Key, Item] = {}
        self._old: dict[Key, Item] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def get(self, key: Key) -> Item | None:
        """Return the item, or None; this counts as a use of the item."""
        item = self._young.get(key)
        if item is None and self._old:
            item = self._old.pop(key, None)
            if item is not None:
                self.put(key, item)
        return item

    def put(self, key: Key, item: Item) -> None:
        """Store an item and replace the one under the same key."""
        self._young[key] = item
        if len(self._young) >= self._generation:
            self._old, self._young = self._young, {}
