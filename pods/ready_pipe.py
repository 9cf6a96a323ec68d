"""The reading ends of a pod's reports: the ready pipe, and the file of its heartbeats.

The pod writes ``ready`` to the descriptor that ``FOX_READY_FD`` names, and later ``busy`` whenever
it gets an event while it is idle (``fox.kit.ready_pipe``). Heartbeats are in a file that the driver
reads when a check is due: they wake only the process of the pod.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from broker.runtime.beat_file import Beat, create_beat_file, read_beat

BUSY = b"busy"

# Capacity of a pipe. Lines are read whole: the kernel writes so few bytes atomically.
_PIPE_BYTES = 64 << 10


class ReadyPipeReader:
    """The reading ends of a pod's ready pipe and beat file.

    Args:
        on_ready: Called once, when the pod is ready.
        on_busy: Called when the pod gets work.

    Attributes:
        writing_end: Descriptor for the pod; ``close_writing_end`` closes it once the pod has
            inherited it.
        beat_file: Another one for the pod; ``close`` closes it.
    """

    def __init__(self, on_ready: Callable[[], None], on_busy: Callable[[], None]) -> None:
        self._on_ready = on_ready
        self._on_busy = on_busy
        self._is_ready = False
        self._loop = asyncio.get_running_loop()
        self.beat_file = create_beat_file()
        try:
            self._descriptor, self.writing_end = os.pipe()
        except OSError:
            os.close(self.beat_file)
            raise
        os.set_blocking(self._descriptor, False)
        self._loop.add_reader(self._descriptor, self._on_lines)

    def last_beat(self) -> Beat | None:
        """Return the pod's last heartbeat, None if it has sent none: heartbeats are optional."""
        return read_beat(self.beat_file) if self._descriptor >= 0 else None

    def close_writing_end(self) -> None:
        """Close the pod's end here, once the pod has inherited it; a second call has no effect."""
        if self.writing_end >= 0:
            os.close(self.writing_end)
            self.writing_end = -1

    def close(self) -> None:
        """Close all ends; a second call has no effect."""
        self.close_writing_end()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            os.close(self.beat_file)
            self._descriptor = -1

    def _on_lines(self) -> None:
        lines = os.read(self._descriptor, _PIPE_BYTES)
        if not lines:
            # The pod has closed its end.
            self._loop.remove_reader(self._descriptor)
            return
        if not self._is_ready:
            self._is_ready = True
            self._on_ready()
        if BUSY in lines:
            self._on_busy()
