"""A pod's log line as text: pods log JSON, so that lines can be selected by their fields."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from kubefox import printable
from kubefox.pod import LogLine

# Fields with the same value in all lines of a pod, whose id is printed before each line.
_POD_FIELDS = {"component", "hash", "pod", "logger"}
_COLORS = re.compile("(\x1b\\[[0-9;]{0,64}m)")
_HEAD_FIELDS = ("time", "level", "message")
_NOT_LISTED = {*_HEAD_FIELDS, *_POD_FIELDS, "exception"}


def readable(line: LogLine) -> str:
    """Return the text of a line; one that the kit's log did not write keeps its colours."""
    fields = line.fields
    if not all(isinstance(fields.get(key), str) for key in _HEAD_FIELDS):
        return _with_colors(line.line)
    text = f"{_clock(fields)} {fields['level']:<7} {fields['message']}"
    text += "".join(f" {key}={value}" for key, value in fields.items() if key not in _NOT_LISTED)
    text = printable.one_line(text)
    if "exception" in fields:
        text += f"\n{printable.lines(str(fields['exception']))}"
    return text


def _with_colors(text: str) -> str:
    """Return a text with all control characters shown but those that set colours and styles."""
    if text.isprintable():
        return text
    parts = _COLORS.split(text)
    return "".join(part if at % 2 else printable.lines(part) for at, part in enumerate(parts))


def _clock(fields: dict[str, Any]) -> str:
    try:
        at = datetime.fromisoformat(fields["time"]).astimezone(UTC)
    except (ValueError, OverflowError):
        return str(fields["time"])
    return at.strftime("%H:%M:%S.%f")[:-3]
