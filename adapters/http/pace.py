"""The pace of a client: how long it may let the adapter wait.

A client that sends or reads for ever, a byte at a time, would keep a place for ever. So time in
which the adapter waits for it is limited, and the bytes that move give time back. Time in which
nothing is expected from the client does not count. Pure: no clock.
"""

from __future__ import annotations


def describe_slowness(verb: str, min_bytes_per_s: float) -> str:
    """Return the end of a message about a slow client; empty if no minimum rate is set.

    Args:
        verb: The slow action of the client, in the past tense.
        min_bytes_per_s: Minimum rate; 0 limits the pauses only.
    """
    return f", or {verb} less than {min_bytes_per_s:g} bytes a second" if min_bytes_per_s else ""


class Pace:
    """The time that is left to a client.

    It begins with ``grace_s``, and never grows above that. So the client may pause for so long, and
    falls behind when it moves fewer bytes a second than the minimum.

    Args:
        grace_s: Longest time without a byte.
        min_bytes_per_s: Minimum rate; 0 limits the pauses only.

    Attributes:
        left_s: How long the adapter waits for the next bytes.
    """

    __slots__ = ("_grace_s", "_min_bytes_per_s", "left_s")

    def __init__(self, grace_s: float, min_bytes_per_s: float) -> None:
        self._grace_s = self.left_s = grace_s
        self._min_bytes_per_s = min_bytes_per_s

    @property
    def is_over(self) -> bool:
        """Whether the client has let the adapter wait for too long."""
        return self.left_s <= 0

    def reset(self) -> None:
        """Give the client all of its time back: it is not behind."""
        self.left_s = self._grace_s

    def note(self, waited_s: float, moved_bytes: int) -> None:
        """Take into account how long the adapter has waited, and for how many bytes."""
        if not moved_bytes:
            self.left_s -= waited_s
        elif not self._min_bytes_per_s:
            self.left_s = self._grace_s
        else:
            left_s = self.left_s - waited_s + moved_bytes / self._min_bytes_per_s
            self.left_s = min(left_s, self._grace_s)
