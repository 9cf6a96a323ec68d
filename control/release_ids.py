"""Ids of releases. They contain their time of creation and sort by it."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

_FORMAT = "%Y%m%d-%H%M%S"
_TIME_CHARS = len("20260101-000000")


def new_release_id(now_s: float) -> str:
    """Return a unique id that sorts by time and is valid as a NATS token."""
    now = datetime.fromtimestamp(now_s, UTC)
    return f"{now:{_FORMAT}}-{now.microsecond // 1000:03d}-{secrets.token_hex(2)}"


def creation_time_s(release_id: str) -> float | None:
    """Return the Unix time (whole seconds) of an id, or None if the id has another format."""
    try:
        return datetime.strptime(f"{release_id[:_TIME_CHARS]}+0000", f"{_FORMAT}%z").timestamp()
    except ValueError:
        return None
