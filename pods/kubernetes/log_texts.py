"""The lines of a container's log with their times, and how far a log has been read.

The API can begin at a time, but only to the second, and so sends some lines again.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import NamedTuple

from pods.line_splitter import LineSplitter

_SECOND_NS = 10**9


class TimedText(NamedTuple):
    """A line of a log.

    Attributes:
        at_ns: Unix time at which the container runtime read it.
        text: The text without its line end; a very long line is split.
    """

    at_ns: int
    text: str


class TimedTexts:
    """Splits a log, which comes in chunks of bytes, into lines with their times.

    A line without a time has that of the line before: it is a part of a very long one, or a message
    of the node. The first one has the present time.
    """

    def __init__(self) -> None:
        self._lines = LineSplitter()
        self._at_ns = 0

    def feed(self, chunk: bytes) -> list[TimedText]:
        """Return the lines that a chunk completes."""
        return [self._read(line) for line in self._lines.feed(chunk)]

    def finish(self) -> list[TimedText]:
        """Return the text after the last line end."""
        return [self._read(line) for line in self._lines.finish()]

    def _read(self, line: str) -> TimedText:
        stamp, _, text = line.partition(" ")
        at_ns = parse_time(stamp)
        if at_ns is None:
            return TimedText(self._at_ns or time.time_ns(), line)
        self._at_ns = at_ns
        return TimedText(at_ns, text)


class Position:
    """How far the log of a container has been read.

    Attributes:
        at_ns: Time of the last line that was read; 0 before the first one.
    """

    def __init__(self) -> None:
        self.at_ns = 0
        self._count = 0
        self._repeated = 0
        self._is_beginning = False

    @property
    def since(self) -> str:
        """The time from which on the log is to be sent, as the API takes it; empty for all."""
        if not self.at_ns:
            return ""
        return format_time(self.at_ns // _SECOND_NS)

    def begin(self) -> None:
        """Note that the log is sent again, from ``since`` on."""
        self._is_beginning = True
        self._repeated = self._count

    def take(self, line: TimedText) -> bool:
        """Go on to a line; return False if it was read before."""
        if self._is_beginning:
            if line.at_ns < self.at_ns:
                return False
            if line.at_ns == self.at_ns and self._repeated:
                self._repeated -= 1
                return False
            # The clock of a node may be set back: from here on, each line is new.
            self._is_beginning = False
        self._count = self._count + 1 if line.at_ns == self.at_ns else 1
        self.at_ns = line.at_ns
        return True


def parse_time(text: str) -> int | None:
    """Return an RFC 3339 time in Unix nanoseconds, or None if it is none."""
    if len(text) < len("2026-01-01T00:00:00Z") or text[10] != "T":
        return None
    second, _, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    try:
        at = datetime.fromisoformat(second + rest[len(digits) :])
    except ValueError:
        return None
    if at.tzinfo is None:
        return None
    return int(at.timestamp()) * _SECOND_NS + int(digits[:9].ljust(9, "0"))


def format_time(unix_s: float) -> str:
    """Return a Unix time as RFC 3339, to the second."""
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
