"""Run callbacks when the event loop is idle.

A process that serves is idle between a send and the reply, even under load. A callback that runs
then delays no request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

QUIET_TURN_S = 20e-6
"""A turn of the loop that takes less time had nothing else to do."""
MAX_TURNS = 8
"""After so many busy turns the callbacks run anyway."""


class IdleCallbacks:
    """Runs callbacks when the loop is idle; made within the loop.

    It does not use the loop's own clock, because uvloop's has a resolution of a millisecond.

    Args:
        quiet_turn_s: A turn of the loop that takes less time counts as idle. Waiting for a turn of
            50 µs instead of 20 makes no measurable difference, see the performance notes.
        max_turns: After so many busy turns the callbacks run anyway.
    """

    def __init__(self, quiet_turn_s: float = QUIET_TURN_S, max_turns: int = MAX_TURNS) -> None:
        self._loop = asyncio.get_running_loop()
        self._quiet_turn_s = quiet_turn_s
        self._max_turns = max_turns
        self._callbacks: list[Callable[[], None]] = []
        self._turn_began_s, self._turns_left = 0.0, 0

    def call_when_idle(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` once, in an idle turn or after ``max_turns`` busy ones."""
        if not self._callbacks:
            self._turn_began_s, self._turns_left = monotonic(), self._max_turns
            self._loop.call_soon(self._check_turn)
        self._callbacks.append(callback)

    def _check_turn(self) -> None:
        now_s = monotonic()
        if self._turns_left and now_s - self._turn_began_s > self._quiet_turn_s:
            self._turn_began_s = now_s
            self._turns_left -= 1
            self._loop.call_soon(self._check_turn)
            return
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
