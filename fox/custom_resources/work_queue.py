"""A queue of keys that need work: each waits once at most, and one task at a time works on it."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """Keys in the order of their arrival.

    A key that arrives while it is worked on waits until that has ended, and then again once.
    """

    def __init__(self) -> None:
        self._waiting: dict[Key, None] = {}
        self._working: dict[Key, bool] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._arrived = asyncio.Event()
        self._is_closed = False

    def add(self, key: Key) -> None:
        """Add a key that needs work now."""
        if key in self._working:
            self._working[key] = True
        else:
            self._waiting[key] = None
            self._arrived.set()

    def add_later(self, key: Key, delay_s: float) -> None:
        """Add a key after a time, unless it is taken before; replaces an earlier time."""
        self._cancel_timer(key)
        self._timers[key] = asyncio.get_running_loop().call_later(delay_s, self._on_time, key)

    async def take(self) -> Key | None:
        """Return the next key, and work on it until ``done``; None once the queue is closed."""
        while not self._is_closed:
            if self._waiting:
                key = next(iter(self._waiting))
                del self._waiting[key]
                self._cancel_timer(key)
                self._working[key] = False
                return key
            self._arrived.clear()
            await self._arrived.wait()
        return None

    def done(self, key: Key) -> None:
        """Note that the work on a key has ended."""
        if self._working.pop(key):
            self.add(key)

    def close(self) -> None:
        """Give out no key any more."""
        self._is_closed = True
        for key in tuple(self._timers):
            self._cancel_timer(key)
        self._arrived.set()

    def _on_time(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)

    def _cancel_timer(self, key: Key) -> None:
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
