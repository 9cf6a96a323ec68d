"""Views of lists that have further pages: kept for some time, so that all pages are alike.

A view shares almost all of its memory with the newest one. It keeps the objects that were changed
or removed since, so it is kept for a short time, and only so many of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

KEPT_S = 60.0
"""How long a view is kept after the last page that was read of it."""
MAX_KEPT = 32
"""Views that are kept at most; the one that was not used for the longest time is dropped."""

View = TypeVar("View")


class _Kept(NamedTuple, Generic[View]):
    view: View
    used_s: float


class KeptViews(Generic[View]):
    """The views of lists that clients are reading.

    Args:
        kept_s: How long a view is kept after its last use.
        limit: How many views are kept.
        now: Monotonic clock in seconds.
    """

    def __init__(
        self,
        *,
        kept_s: float = KEPT_S,
        limit: int = MAX_KEPT,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept_s = kept_s
        self._limit = limit
        self._now = now
        # The least recently used view is the first one.
        self._kept: dict[Hashable, _Kept[View]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, key: Hashable, view: View) -> None:
        """Keep a view from now on, or for longer."""
        self._kept.pop(key, None)
        self._kept[key] = _Kept(view, self._now())
        self.drop_unused()

    def find(self, key: Hashable) -> View | None:
        """Return the view that was kept under a key, or None if that was too long ago."""
        self.drop_unused()
        kept = self._kept.get(key)
        return None if kept is None else kept.view

    def drop_unused(self) -> None:
        """Drop the views that were not used lately, and those above the limit."""
        latest_s = self._now() - self._kept_s
        unused = [key for key, kept in self._kept.items() if kept.used_s <= latest_s]
        above = [*self._kept][: max(0, len(self._kept) - self._limit)]
        for key in {*unused, *above}:
            del self._kept[key]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._kept:
            # Without this, a view would keep changed objects until the next list is read.
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._kept_s, self.drop_unused)
