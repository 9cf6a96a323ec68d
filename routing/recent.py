"""A cache of bounded size whose hit costs one dictionary look-up."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Recent(Generic[Key, Item]):
    """Keeps what was used lately, in two generations.

    When the young generation is full it becomes the old one, and what the old one still held is
    dropped. So between ``generation`` and twice as many of the last used items are kept, without
    the bookkeeping that an exact order of use costs on every hit.

    Args:
        generation: Size of one generation.
    """

    __slots__ = ("_generation", "_old", "_young")

    def __init__(self, generation: int) -> None:
        """Begin empty."""
        self._generation = generation
        self._young: dict[Key, Item] = {}
        self._old: dict[Key, Item] = {}

    def __len__(self) -> int:
        """Return how many items are kept."""
        return len(self._young.keys() | self._old.keys())

    def get(self, key: Key) -> Item | None:
        """Return the item, which counts as a use, or None."""
        item = self._young.get(key)
        if item is None and self._old:
            item = self._old.pop(key, None)
            if item is not None:
                self.put(key, item)
        return item

    def put(self, key: Key, item: Item) -> None:
        """Keep an item, in place of another under the same key."""
        self._young[key] = item
        if len(self._young) >= self._generation:
            self._old, self._young = self._young, {}
