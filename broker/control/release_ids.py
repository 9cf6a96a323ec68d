"""Ids of releases: they sort by time, and tell it."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

_FORMAT = "%Y%m%d-%H%M%S"
_MOMENT_CHARS = len("20260101-000000")


def new_release_id(now_s: float) -> str:
    """Return a unique id that sorts by time and fits a NATS token."""
    moment = datetime.fromtimestamp(now_s, UTC)
    return f"{moment:{_FORMAT}}-{moment.microsecond // 1000:03d}-{secrets.token_hex(2)}"


def made_at_s(release_id: str) -> float | None:
    """Return when an id was made (Unix time, to the second), or None if it is of another make."""
    try:
        return datetime.strptime(f"{release_id[:_MOMENT_CHARS]}+0000", f"{_FORMAT}%z").timestamp()
    except ValueError:
        return None
