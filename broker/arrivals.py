"""A bucket's entries between the callback that gets them and whoever takes them, many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from nats.aio.msg import Msg

MAX_WAITING = 1_024
"""Entries taken in before NATS has to wait."""

_OPERATION = "KV-Operation"
_REASON = "Nats-Marker-Reason"
_DELETED = ("DEL", "PURGE")


class Entry(NamedTuple):
    """One key at one revision; ``value`` is None where it was deleted."""

    key: str
    value: bytes | None
    revision: int


class Arrivals:
    """What one subscription brings.

    Args:
        prefix: Of every subject, before the key.

    Attributes:
        revision: The highest that was taken.
        is_complete: Whether all that was there at the beginning has arrived.
    """

    def __init__(self, prefix: str) -> None:
        """Begin empty."""
        self.revision = 0
        self.is_complete = False
        self._prefix_length = len(prefix)
        self._entries: list[Entry] = []
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be taken."""
        return not self._entries

    def complete(self) -> None:
        """Know that nothing was there at the beginning."""
        self.is_complete = True
        self._filled.set()

    async def put(self, message: Msg) -> None:
        """Take a message in; return when there is room for another."""
        facts = message.metadata
        deleted = message.headers is not None and _is_deletion(message.headers)
        value = None if deleted else message.data
        entry = Entry(message.subject[self._prefix_length :], value, facts.sequence.stream)
        self._entries.append(entry)
        if facts.num_pending == 0:
            self.is_complete = True
        self._filled.set()
        if len(self._entries) >= MAX_WAITING:
            self._taken.clear()
            await self._taken.wait()

    async def take(self) -> list[Entry]:
        """Return all that waits, as soon as something does; once, it may be nothing."""
        await self._filled.wait()
        self._filled.clear()
        taken, self._entries = self._entries, []
        self._taken.set()
        self.revision = max((self.revision, *(each.revision for each in taken)))
        return taken

    async def until_complete(self) -> AsyncIterator[list[Entry]]:
        """Yield all that was there at the beginning, and perhaps the first changes."""
        while not (self.is_complete and self.is_empty):
            yield await self.take()


def _is_deletion(headers: dict[str, str]) -> bool:
    # The server marks what it removes itself, by age, with a reason instead.
    return headers.get(_OPERATION) in _DELETED or _REASON in headers
