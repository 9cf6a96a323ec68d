"""Times and durations as people write and read them."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime

import typer

_AGO = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_MS_A_SECOND = 1_000
_DIGITS = 3


def read_duration(text: str) -> float:
    """Return the seconds of ``90s``, ``10m``, ``2h``.

    Raises:
        BadParameter: It is something else.
    """
    found = _AGO.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time: expected such as 500ms, 30s, 10m, 2h")
    return float(found[1]) * _SECONDS[found[2]]


def read_since(text: str, now_s: float) -> float:
    """Return the Unix time of ``10m`` ago, or of an ISO time; without a zone it is local.

    Raises:
        BadParameter: It is something else.
    """
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(text).astimezone().timestamp()
    try:
        return now_s - read_duration(text)
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{error.message}, or 2026-11-23T12:00") from error


def show_ms(duration_ms: float | None) -> str:
    """Return ``0.42 ms``, ``37.1 ms``, ``1.20 s``; empty for None."""
    if duration_ms is None:
        return ""
    if duration_ms >= _MS_A_SECOND:
        return f"{duration_ms / _MS_A_SECOND:.2f} s"
    decimals = max(0, _DIGITS - len(str(int(duration_ms))))
    return f"{duration_ms:.{decimals}f} ms"
