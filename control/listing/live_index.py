"""A sorted index of all objects of one kind, which follows their changes.

An order is sorted when a list needs it for the first time. From then on, a change costs a few
microseconds for each order; the index holds no copies of the objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Generic

from broker.runtime import gc_tuning
from control.listing.ordered_blocks import OrderedBlocks, OrderedView, T, sort_in_slices
from control.listing.orders import Order, key_function


class LiveIndex(Generic[T]):
    """The items of one kind, in each order that was needed.

    Args:
        source: Returns all items as they are now; the result must not change.
        fields: Field name to the path of its attribute.
    """

    def __init__(self, source: Callable[[], Iterable[T]], fields: Mapping[str, str]) -> None:
        self._source = source
        self._fields = fields
        self._sorted: dict[Order, OrderedBlocks[T]] = {}
        self._building = asyncio.Lock()
        self._missed: list[tuple[T | None, T | None]] = []
        self._resets = 0

    async def prepare(self, order: Order) -> None:
        """Sort the items in an order, unless that was done. ``view`` may be called at once."""
        if order in self._sorted:
            return
        async with self._building:
            while order not in self._sorted:
                await self._build(order)

    def view(self, order: Order) -> OrderedView[T]:
        """Return the items as they are now, in an order that was prepared."""
        return self._sorted[order].view()

    def change(self, before: T | None, after: T | None) -> None:
        """Follow a change of one item; None stands for an item that does not exist."""
        if self._building.locked():
            self._missed.append((before, after))
        for blocks in self._sorted.values():
            _apply(blocks, before, after)

    def reset(self) -> None:
        """Forget all items: they were replaced."""
        self._resets += 1
        self._sorted.clear()

    async def _build(self, order: Order) -> None:
        self._missed.clear()
        resets = self._resets
        with gc_tuning.collection_paused():
            built = await sort_in_slices(self._source(), key_function(order, self._fields))
            gc_tuning.freeze_large(len(built.view()))
        for before, after in self._missed:
            _apply(built, before, after)
        if resets == self._resets:
            self._sorted[order] = built


def _apply(blocks: OrderedBlocks[T], before: T | None, after: T | None) -> None:
    if before is not None:
        blocks.remove(before)
    if after is not None:
        blocks.add(after)
