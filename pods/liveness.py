"""Pods whose event loop stands still are killed: they would take events and never answer.

A pod says at times that its loop runs (``pods.ready_pipe``). One timer serves all pods of a driver,
and goes off when the first of them would have been silent for too long.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

BEAT_S = 5.0
"""How often a pod says that its loop runs, at the rarest: each time wakes it up."""

_LATE_S = 1.0


class Beating(Protocol):
    """A pod that may say that its loop runs."""

    def last_beat_s(self) -> float | None:
        """Return when it last did (``time.monotonic``), None if never."""
        ...

    def end_hung(self, still_s: float) -> None:
        """End it: its loop has not run for ``still_s``."""
        ...


class Liveness:
    """Watches pods.

    Args:
        bound_s: How long a loop may stand still; a pod is ended at most ``beat_s`` later. 0
            watches nothing.

    Attributes:
        beat_s: How often pods have to say that their loop runs; 0 if they need not.
    """

    def __init__(self, bound_s: float) -> None:
        """Watch no pod yet."""
        self.beat_s = min(BEAT_S, bound_s / 2)
        self._bound_s = bound_s
        self._pods: set[Beating] = set()
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def watching(self, pod: Beating) -> Iterator[None]:
        """Watch a pod while the context lasts; one that never says that it runs is left alone."""
        if self._bound_s:
            self._pods.add(pod)
            self._look_by(time.monotonic() + self._silence_s)
        try:
            yield
        finally:
            self._pods.discard(pod)
            if not self._pods and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    @property
    def _silence_s(self) -> float:
        """A loop that ran to just before its next beat, and then stood still for the bound."""
        return self._bound_s + self.beat_s

    def _look_by(self, due_s: float) -> None:
        """Have a look at ``due_s`` (``time.monotonic``), unless one comes anyway: not later."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(due_s - time.monotonic(), self._look, due_s)

    def _look(self, due_s: float) -> None:
        self._timer = None
        now_s = time.monotonic()
        if now_s - due_s > _LATE_S:
            # This process did not run itself: it was stopped, or the whole machine. If the pods
            # were as well, they need a moment.
            self._look_by(now_s + self.beat_s)
            return
        beats = [self._checked(pod, now_s) for pod in tuple(self._pods)]
        if beats:
            self._look_by(min(beats) + self._silence_s)

    def _checked(self, pod: Beating, now_s: float) -> float:
        """Return when the pod last said that it runs; end it if that is too long ago."""
        beat_s = pod.last_beat_s()
        if beat_s is None:
            return now_s
        if now_s - beat_s < self._silence_s:
            return beat_s
        pod.end_hung(now_s - beat_s)
        return now_s
