"""The protocol by which a pod runner reads the output of its pods, wherever it is."""

from __future__ import annotations

from typing import Protocol

from broker.storage.pod_logs import LogQuery
from kubefox.pod import LogLine

DRAIN_BYTES = 256 << 10
"""About how many bytes of lines one answer has; see ``line_bytes``."""

_NAMES_BYTES = 300
_MAX_CHARACTER_BYTES = 4


def line_bytes(text: str) -> int:
    """Return about how many bytes a line has in an answer, and in memory.

    The names of its pod and its version count too: a short line has more of them than text.
    """
    return _NAMES_BYTES + len(text) * (1 if text.isascii() else _MAX_CHARACTER_BYTES)


class LineReader(Protocol):
    """The lines that one client reads."""

    @property
    def is_done(self) -> bool:
        """Whether no line waits, and none will come."""
        ...

    def drain(self, max_bytes: int = DRAIN_BYTES) -> tuple[LogLine, ...]:
        """Return and remove the next lines, of about ``max_bytes`` together."""
        ...

    async def wait(self) -> None:
        """Return when a line waits, or none will come."""
        ...

    def close(self) -> None:
        """Read no more."""
        ...


class LogSource(Protocol):
    """Has the output of pods."""

    def open_reader(self, query: LogQuery) -> LineReader:
        """Return a reader that begins with the tail; never blocks. Its caller closes it."""
        ...
