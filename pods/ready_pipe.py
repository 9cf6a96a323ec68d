"""What a pod tells its driver: that it is ready, and at times that its event loop still runs.

It writes a line for each to the descriptor that ``FOX_READY_FD`` names. Once it is ready nobody
waits for more: what it says lies in the pipe until somebody looks, so it wakes only the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

ALIVE = b"alive"
"""Begins the line that tells when the loop ran; the time of the machine's clock follows."""

# All that a pipe holds. Lines come whole: the kernel writes so few bytes at once.
_PIPE_BYTES = 64 << 10


class ReadyPipe:
    """The reading end, and until the pod has been started the writing end.

    Args:
        on_ready: Called once, when the pod says that it is ready.

    Attributes:
        told: The writing end; whoever passes it on closes it here.
    """

    def __init__(self, on_ready: Callable[[], None]) -> None:
        """Open the pipe."""
        self._on_ready = on_ready
        self._loop = asyncio.get_running_loop()
        self._last_beat_s: float | None = None
        self._descriptor, self.told = os.pipe()
        os.set_blocking(self._descriptor, False)
        self._loop.add_reader(self._descriptor, self._take_ready)

    def last_beat_s(self) -> float | None:
        """Return when the pod's loop last said that it runs (``time.monotonic``).

        None: it has never said so. A pod need not.
        """
        self._read()
        return self._last_beat_s

    def close(self) -> None:
        """Close the reading end; closing it again changes nothing."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _take_ready(self) -> None:
        self._loop.remove_reader(self._descriptor)
        if self._read():
            self._on_ready()

    def _read(self) -> bool:
        """Take what was said since the last time; return False if the pod has closed the pipe."""
        try:
            said = os.read(self._descriptor, _PIPE_BYTES)
        except BlockingIOError:
            return True
        for line in said.splitlines():
            word, _, at_s = line.partition(b" ")
            if word == ALIVE:
                with contextlib.suppress(ValueError):
                    self._last_beat_s = float(at_s)
        return bool(said)
