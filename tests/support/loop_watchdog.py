"""A watchdog of the event loop: how many functions are called while nothing else can run.

It counts instead of measuring, so that the machine and its load do not matter; see
``tests.support.bounded_work``. Everything that the loop runs in its thread counts: tasks, and
callbacks of sockets and timers.
"""

from __future__ import annotations

import asyncio.runners
import contextlib
import sys
from collections.abc import Iterator
from types import FrameType

import pytest

from broker.runtime import cooperative


class LoopWatchdog:
    """The longest turn of the loop that was seen.

    Attributes:
        most_calls: How many functions it called, of Python and of C.
        longest: Name of the function with which it began.
        turns: How many turns were seen.
    """

    def __init__(self) -> None:
        self.most_calls = 0
        self.longest = ""
        self.turns = 0
        self._calls = 0
        self._name = ""
        self._runner = _frame_of_the_runner()

    def on_event(self, frame: FrameType, event: str, _argument: object) -> None:
        """Count a call; see ``sys.setprofile``."""
        if event == "call":
            if frame.f_back is self._runner:
                self.end_turn()
                self._name = frame.f_code.co_qualname
            self._calls += 1
        elif event == "c_call":
            self._calls += 1

    def end_turn(self) -> None:
        """Count from 0 for the next turn of the loop."""
        if self._calls > self.most_calls:
            self.most_calls, self.longest = self._calls, self._name
        self._calls = 0
        self.turns += 1


@contextlib.contextmanager
def watch_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopWatchdog]:
    """Watch the running loop. Work in steps yields after each step, so that steps are counted."""
    monkeypatch.setattr(cooperative, "TIME_SLICE_S", 0)
    watchdog = LoopWatchdog()
    sys.setprofile(watchdog.on_event)
    try:
        yield watchdog
    finally:
        sys.setprofile(None)
        watchdog.end_turn()


def _frame_of_the_runner() -> FrameType:
    """Return the frame that runs the loop: what it calls is a turn of the loop."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not asyncio.runners.Runner.run.__code__:
        frame = frame.f_back
    assert frame is not None, "the loop is not run by asyncio.Runner"
    return frame
