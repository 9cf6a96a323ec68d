"""A pod's log line for people: pods log JSON, so that lines can be found by their fields."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from model import printable
from model.pod import LogLine

# Of the whole pod, which is named in front of each line.
_OF_THE_POD = {"component", "hash", "pod", "logger"}
_SHOWN_FIRST = ("time", "level", "message")
_APART = {*_SHOWN_FIRST, *_OF_THE_POD, "exception"}


def readable(line: LogLine) -> str:
    """Return the text of a line; what is not logged but printed comes as it is."""
    fields = line.fields
    if not all(isinstance(fields.get(key), str) for key in _SHOWN_FIRST):
        return line.line
    shown = f"{_clock(fields)} {fields['level']:<7} {fields['message']}"
    shown += "".join(f" {key}={value}" for key, value in fields.items() if key not in _APART)
    shown = printable.one_line(shown)
    if "exception" in fields:
        shown += f"\n{printable.lines(str(fields['exception']))}"
    return shown


def _clock(fields: dict[str, Any]) -> str:
    try:
        at = datetime.fromisoformat(fields["time"]).astimezone(UTC)
    except (ValueError, OverflowError):
        return str(fields["time"])
    return at.strftime("%H:%M:%S.%f")[:-3]
