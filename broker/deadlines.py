"""What is to happen when time runs out, for many at once by one timer.

A timer of the loop's costs 1.7 µs to set and to cancel, and nearly every one is cancelled: a
request is answered long before its deadline. Here both together cost 0.5 µs. The one timer goes off
at the earliest deadline that was known when it was set, which is about once in a time to live.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Deadlines(Generic[Key]):
    """The deadlines of one kind of thing; made within the loop.

    Args:
        expire: Called once for each key whose time runs out.
    """

    def __init__(self, expire: Callable[[Key], None]) -> None:
        """Start without any."""
        # Kept, because asking for it makes a system call each time, before Python 3.12.
        self._loop = asyncio.get_running_loop()
        self._expire = expire
        self._due_s: dict[Key, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next_s = math.inf

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._due_s)

    def set(self, key: Key, timeout_s: float) -> None:
        """Let a key's time run out ``timeout_s`` from now."""
        due_s = self._loop.time() + timeout_s
        self._due_s[key] = due_s
        if due_s < self._next_s:
            self._wake_at(due_s)

    def forget(self, key: Key) -> None:
        """Let nothing happen to a key any more."""
        self._due_s.pop(key, None)

    def _wake_at(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_s = due_s
        self._timer = self._loop.call_at(due_s, self._wake)

    def _wake(self) -> None:
        self._timer, self._next_s = None, math.inf
        now_s = self._loop.time()
        for key in [key for key, due_s in self._due_s.items() if due_s <= now_s]:
            # The one before may have led to this one being forgotten.
            if self._due_s.pop(key, None) is not None:
                self._expire(key)
        if self._due_s:
            self._wake_at(min(self._due_s.values()))
