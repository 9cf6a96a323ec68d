"""Sorted items in immutable blocks: a change copies one block, and a view stays as it was made.

A view of 100,000 items is a tuple of a few hundred blocks. Items between two keys are found by
bisection, so a page costs what it holds.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from control.listing.pacing import SLICE_RECORDS

T = TypeVar("T")
Key = tuple[Any, ...]
KeyOf = Callable[[T], Key]
Block = tuple[T, ...]

BLOCK_ITEMS = 256
"""Items of a new block; a block of twice as many is divided."""
_PART_ITEMS = 4 * BLOCK_ITEMS
_SAMPLES_PER_PART = 8


class Span(NamedTuple):
    """The items whose keys begin alike.

    Attributes:
        fields: The first fields of their keys.
        text: Beginning of the field after those, a text; empty means any.
    """

    fields: Key = ()
    text: str = ""

    @property
    def beginning(self) -> Key:
        """The results of ``cut`` for the key of each item of the span."""
        return (*self.fields, self.text) if self.text else self.fields

    def cut(self, key: Key) -> Key:
        """Return the part of a key that the span compares."""
        count = len(self.fields)
        if not self.text:
            return key[:count]
        return (*key[:count], key[count][: len(self.text)])


class OrderedView(Generic[T]):
    """All items at one moment, sorted. Never changes.

    Args:
        blocks: The items; no block is empty.
        key_of: Returns the key of an item; no two items have the same key.

    Attributes:
        blocks: The items.
        key_of: Returns the key of an item.
    """

    def __init__(self, blocks: tuple[Block[T], ...], key_of: KeyOf[T]) -> None:
        self.blocks = blocks
        self.key_of = key_of
        self._count = sum(map(len, blocks))

    def __len__(self) -> int:
        return self._count

    def items(
        self, span: Span, after: Key | None = None, *, is_descending: bool = False
    ) -> Iterator[T]:
        """Yield the items of a span in order.

        Args:
            span: Which items.
            after: Begin behind this key; no item needs to have it. None begins at the first.
            is_descending: Yield the last item first.
        """

        def cut(item: T) -> Key:
            return span.cut(self.key_of(item))

        start = self._position(bisect_left, span.beginning, cut)
        stop = self._position(bisect_right, span.beginning, cut)
        if after is not None and is_descending:
            stop = min(stop, self._position(bisect_left, after, self.key_of))
        elif after is not None:
            start = max(start, self._position(bisect_right, after, self.key_of))
        return self._backward(start, stop) if is_descending else self._forward(start, stop)

    def _position(self, bisect: Any, key: Key, key_of: KeyOf[T]) -> tuple[int, int]:
        number: int = bisect(self.blocks, key, key=lambda block: key_of(block[-1]))
        if number == len(self.blocks):
            return number, 0
        return number, bisect(self.blocks[number], key, key=key_of)

    def _forward(self, start: tuple[int, int], stop: tuple[int, int]) -> Iterator[T]:
        for number in range(start[0], min(stop[0] + 1, len(self.blocks))):
            block = self.blocks[number]
            first = start[1] if number == start[0] else 0
            last = stop[1] if number == stop[0] else len(block)
            for at in range(first, last):
                yield block[at]

    def _backward(self, start: tuple[int, int], stop: tuple[int, int]) -> Iterator[T]:
        for number in range(min(stop[0], len(self.blocks) - 1), start[0] - 1, -1):
            block = self.blocks[number]
            first = start[1] if number == start[0] else 0
            last = stop[1] if number == stop[0] else len(block)
            for at in range(last - 1, first - 1, -1):
                yield block[at]


class OrderedBlocks(Generic[T]):
    """Sorted items that change; made by ``sort_in_slices``.

    Args:
        key_of: Returns the key of an item.
        blocks: Sorted items.
    """

    def __init__(self, key_of: KeyOf[T], blocks: Iterable[Block[T]] = ()) -> None:
        self._key_of = key_of
        self._blocks = list(blocks)
        self._view: OrderedView[T] | None = None

    def view(self) -> OrderedView[T]:
        """Return the items as they are now."""
        if self._view is None:
            self._view = OrderedView(tuple(self._blocks), self._key_of)
        return self._view

    def add(self, item: T) -> None:
        """Add an item; it replaces the one with the same key."""
        self._view = None
        key = self._key_of(item)
        if not self._blocks:
            self._blocks.append((item,))
            return
        number = min(self._block_of(key), len(self._blocks) - 1)
        block = self._blocks[number]
        at = bisect_left(block, key, key=self._key_of)
        is_known = at < len(block) and self._key_of(block[at]) == key
        changed = (*block[:at], item, *block[at + is_known :])
        self._blocks[number : number + 1] = divided(changed)

    def remove(self, item: T) -> None:
        """Remove the item with the key of ``item``, if there is one."""
        key = self._key_of(item)
        number = self._block_of(key)
        if number == len(self._blocks):
            return
        block = self._blocks[number]
        at = bisect_left(block, key, key=self._key_of)
        if self._key_of(block[at]) == key:
            self._view = None
            changed = (*block[:at], *block[at + 1 :])
            self._blocks[number : number + 1] = [changed] if changed else []

    def _block_of(self, key: Key) -> int:
        return bisect_left(self._blocks, key, key=lambda block: self._key_of(block[-1]))


def divided(items: Sequence[T]) -> list[Block[T]]:
    """Return items as blocks, each of fewer than 2 × BLOCK_ITEMS."""
    if len(items) < 2 * BLOCK_ITEMS:
        return [tuple(items)]
    starts = range(0, len(items), BLOCK_ITEMS)
    return [tuple(items[start : start + BLOCK_ITEMS]) for start in starts]


async def sort_in_slices(items: Iterable[T], key_of: KeyOf[T]) -> OrderedBlocks[T]:
    """Sort items, and yield to the loop in between.

    The items are divided by a sample of their keys, then each part is sorted: one sort of 100,000
    items would hold the loop for 50 ms.
    """
    found: list[T] = []
    iterator = iter(items)
    while part := list(islice(iterator, SLICE_RECORDS)):
        found += part
        await asyncio.sleep(0)
    bounds = _bounds(found, key_of)
    parts: list[list[T]] = [[] for _ in range(len(bounds) + 1)]
    for start in range(0, len(found), SLICE_RECORDS):
        for item in found[start : start + SLICE_RECORDS]:
            parts[bisect_left(bounds, key_of(item))].append(item)
        await asyncio.sleep(0)
    blocks: list[Block[T]] = []
    for part in filter(None, parts):
        part.sort(key=key_of)
        blocks += divided(part)
        await asyncio.sleep(0)
    return OrderedBlocks(key_of, blocks)


def _bounds(items: Sequence[T], key_of: KeyOf[T]) -> list[Key]:
    """Return keys that divide items into parts of about ``_PART_ITEMS``."""
    samples_wanted = _SAMPLES_PER_PART * len(items) // _PART_ITEMS
    if not samples_wanted:
        return []
    samples = sorted(map(key_of, items[:: len(items) // samples_wanted]))
    return samples[_SAMPLES_PER_PART::_SAMPLES_PER_PART]
