"""What is still to be done about events that have ended, once what they led to is on its way.

Whoever waits for an answer does not wait for it to be counted. And what is done for many events at
once costs half of what it would cost in between everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

Later = Callable[[Callable[[], None]], object]
"""Calls something when nobody waits for what is done now."""


class _AtOnce(list[T]):
    """Takes events that nothing is to be gained by leaving for later."""

    def __init__(self, settle: Callable[[list[T]], None]) -> None:
        super().__init__()
        self._settle = settle

    def append(self, ended: T, /) -> None:
        self._settle([ended])


class Settling(Generic[T]):
    """The events of one kind that have ended in one process.

    Args:
        settle: Counts them, and puts their spans by or on their way; it raises nothing.

    Attributes:
        ended: Those that are yet to be settled. Where each call counts, it is appended to as
            ``put`` does.
    """

    def __init__(self, settle: Callable[[list[T]], None]) -> None:
        """Start with none, and settle each at once: there is no connection yet."""
        self._settle = settle
        self.ended: list[T] = _AtOnce(settle)
        self._later: Later | None = None

    def defer(self, later: Later | None) -> None:
        """Settle events by ``later`` from now on, or each at once; those that wait are settled."""
        self.settle()
        self._later = later
        self.ended = _AtOnce(self._settle) if later is None else []

    def put(self, ended: T) -> None:
        """Settle an event soon."""
        if not self.ended:
            self.begin()
        self.ended.append(ended)

    def begin(self) -> None:
        """Settle soon all that end from now on until then."""
        if self._later is not None:
            self._later(self.settle)

    def settle(self) -> None:
        """Settle all that have ended until now."""
        if self.ended:
            ended, self.ended = self.ended, []
            self._settle(ended)
