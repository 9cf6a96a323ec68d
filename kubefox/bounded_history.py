"""Histories inside records: bounded in number and in bytes."""

from __future__ import annotations

from typing import TypeVar

import msgspec

MAX_HISTORY_BYTES = 64 * 1024
"""Size of the history in one record, as JSON. A record is written, sent and kept as a whole."""

Entry = TypeVar("Entry", bound=msgspec.Struct)

_encode = msgspec.json.Encoder().encode


def bounded_history(
    entries: tuple[Entry, ...], limit: int, *, max_bytes: int = MAX_HISTORY_BYTES
) -> tuple[Entry, ...]:
    """Return the newest entries, as many as the bounds allow.

    Args:
        entries: Newest first. The newest one stays, whatever its size.
        limit: How many entries are kept at most, 1 or more.
        max_bytes: Their size as JSON.
    """
    kept = entries[:limit]
    size = 0
    for at, entry in enumerate(kept):
        size += len(_encode(entry))
        if at and size > max_bytes:
            return kept[:at]
    return kept
