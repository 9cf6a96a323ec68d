"""A watched bucket's entries between the subscription and the reader, who takes many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec

from broker.nats.ordered_consumer import StreamMessage, parse_headers

MAX_BUFFERED = 1_024
"""Entries that may wait; above this, the server is not told to go on, so only what its flow control
allows comes on top."""

_OPERATION = "KV-Operation"
_REASON = "Nats-Marker-Reason"
_OPERATION_MARK, _REASON_MARK = _OPERATION.encode(), _REASON.encode()
_DELETED = ("DEL", "PURGE")


class WatchedEntry(msgspec.Struct, frozen=True, gc=False):
    """One key of a watched bucket at one revision; ``value`` is None if the key was deleted."""

    key: str
    value: bytes | None
    revision: int


class EntryBuffer:
    """The entries that one subscription delivers.

    Args:
        prefix: Prefix of every subject, before the key.

    Attributes:
        revision: The highest revision that was drained.
        is_complete: Whether all entries that existed at the beginning have arrived.
        on_room: Called when the entries that waited were taken.
    """

    def __init__(self, prefix: str) -> None:
        self.revision = 0
        self.is_complete = False
        self._prefix_length = len(prefix)
        self._entries: list[WatchedEntry] = []
        self._filled = asyncio.Event()
        self.on_room: Callable[[], None] = _do_nothing

    @property
    def is_empty(self) -> bool:
        """Whether no entry waits."""
        return not self._entries

    def mark_complete(self) -> None:
        """Record that the bucket was empty at the beginning."""
        self.is_complete = True
        self._filled.set()

    @property
    def is_full(self) -> bool:
        """Whether so many entries wait that no more should be sent for now."""
        return len(self._entries) >= MAX_BUFFERED

    def add(self, message: StreamMessage) -> None:
        """Add the entry of a message; see ``StreamReader``."""
        deleted = message.headers and is_deletion(message.headers)
        value = None if deleted else message.payload
        key = message.subject[self._prefix_length :].decode(errors="replace")
        if not self._entries:
            self._filled.set()
        self._entries.append(WatchedEntry(key, value, message.sequence))
        if message.pending == 0:
            self.is_complete = True

    async def drain(self) -> list[WatchedEntry]:
        """Wait for entries, remove and return them; empty once if the bucket was empty."""
        await self._filled.wait()
        self._filled.clear()
        drained, self._entries = self._entries, []
        self.on_room()
        if drained:
            # They come in the order of their revisions.
            self.revision = drained[-1].revision
        return drained

    async def initial_entries(self) -> AsyncIterator[list[WatchedEntry]]:
        """Yield all entries that existed at the beginning, and perhaps the first changes."""
        while not (self.is_complete and self.is_empty):
            yield await self.drain()


def _do_nothing() -> None:
    """Stand in until the buffer has a consumer."""


def is_deletion(headers: bytes) -> bool:
    """Return whether the headers of a message say that its entry was deleted."""
    # When the server itself removes an entry, by age, its marker has a reason instead.
    if _OPERATION_MARK not in headers and _REASON_MARK not in headers:
        return False
    found = parse_headers(headers)
    return found.get(_OPERATION) in _DELETED or _REASON in found
