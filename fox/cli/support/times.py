"""Times and durations on the command line: parsing and formatting."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime

import typer

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_MS_A_SECOND = 1_000
_DIGITS = 3


def read_duration(text: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``10m`` or ``2h``.

    Raises:
        BadParameter: The text is not a duration.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a time: expected 500ms, 30s, 10m, 2h or 7d")
    return float(found[1]) * _SECONDS[found[2]]


def read_since(text: str, now_s: float) -> float:
    """Return the Unix time that a duration before ``now_s`` or an ISO time means.

    An ISO time without a zone is local time.

    Raises:
        BadParameter: The text is neither.
    """
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(text).astimezone().timestamp()
    try:
        return now_s - read_duration(text)
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{error.message}, or 2026-11-23T12:00") from error


def show_time(unix_s: float) -> str:
    """Return a Unix time as ISO text in UTC, such as ``2026-11-23T12:00:00Z``."""
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def show_end(unix_s: float, now_s: float) -> str:
    """Return a Unix time at which something ends, and whether it has ended."""
    return f"{show_time(unix_s)} (expired)" if unix_s <= now_s else show_time(unix_s)


def show_ms(duration_ms: float | None) -> str:
    """Return a duration such as ``0.42 ms``, ``37.1 ms`` or ``1.20 s``; empty for None."""
    if duration_ms is None:
        return ""
    if duration_ms >= _MS_A_SECOND:
        return f"{duration_ms / _MS_A_SECOND:.2f} s"
    decimals = max(0, _DIGITS - len(str(int(duration_ms))))
    return f"{duration_ms:.{decimals}f} ms"
