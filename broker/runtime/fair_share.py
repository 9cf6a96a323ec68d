"""Share an amount of something fairly between lanes: places, events, bytes of memory.

A *lane* is what is shared between, such as a deployment in a virtual environment. These classes do
no I/O and read no clock.
"""

from __future__ import annotations

from collections.abc import Hashable

Lane = Hashable


class FairShare:
    """An amount that lanes take from and give back to.

    A lane may take while it has less than is free of twice the limit. So a lane alone gets
    ``limit``, two get two thirds of that each, and a new one always finds something. A lane that
    has nothing costs nothing.

    Args:
        limit: Amount that one lane gets at most; all together get less than twice as much.

    Attributes:
        limit: Amount that one lane gets at most.
        taken: Amount that all lanes have taken.
    """

    __slots__ = ("_most", "_taken_by", "limit", "taken")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # One more, so that a new lane finds something beside one that has a limit of 1.
        self._most = 2 * limit + 1
        self._taken_by: dict[Lane, int] = {}
        self.taken = 0

    def of(self, lane: Lane) -> int:
        """Return the amount that a lane has taken."""
        return self._taken_by.get(lane, 0)

    def room(self, lane: Lane) -> int:
        """Return the amount that a lane could take."""
        return max(0, (self._most - self.taken - self.of(lane)) // 2)

    def has_room(self, lane: Lane, amount: int = 1) -> bool:
        """Return whether a lane could take an amount."""
        return self._taken_by.get(lane, 0) + self.taken + 2 * amount <= self._most

    def try_take(self, lane: Lane, amount: int = 1) -> bool:
        """Take an amount, and return whether it was there."""
        taken_by, taken = self._taken_by, self.taken
        own = taken_by.get(lane, 0)
        if own + taken + 2 * amount > self._most:
            return False
        taken_by[lane] = own + amount
        self.taken = taken + amount
        return True

    def release(self, lane: Lane, amount: int = 1) -> None:
        """Give an amount back."""
        taken_by = self._taken_by
        own = taken_by.get(lane, 0) - amount
        if own:
            taken_by[lane] = own
        else:
            taken_by.pop(lane, None)
        self.taken -= amount
