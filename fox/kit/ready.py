"""What a pod tells its driver: that it is ready, and at times that its event loop still runs."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import time

_READY = b"ready\n"


class ReadyPipe:
    """The descriptor that ``FOX_READY_FD`` names, as ``docs/architecture.md`` has it, "Pods".

    Args:
        descriptor: To write to; None tells nobody.
        beat_s: How often to say that the loop runs; None never does.
    """

    def __init__(self, descriptor: int | None, beat_s: float | None) -> None:
        """Say nothing yet."""
        self._descriptor = descriptor
        self._beat_s = beat_s

    def tell_ready(self) -> None:
        """Say that the pod is ready, and from now on, while the loop runs, that it does."""
        if self._descriptor is None:
            return
        if self._beat_s is None:
            os.write(self._descriptor, _READY)
            os.close(self._descriptor)
            return
        os.set_blocking(self._descriptor, False)
        # What the driver sends before it ends a pod whose loop stands still: the log then has the
        # line where it stands, which is what its author wants to know.
        faulthandler.register(signal.SIGQUIT)
        # In one: a pod that hangs in between would be ready, and nobody expect more of it.
        self._beat(self._descriptor, self._beat_s, _READY)

    def _beat(self, descriptor: int, beat_s: float, first: bytes = b"") -> None:
        # Nobody reads any more: the driver is gone, or lets the pod drain.
        with contextlib.suppress(OSError):
            os.write(descriptor, b"%salive %.3f\n" % (first, time.monotonic()))
        asyncio.get_running_loop().call_later(beat_s, self._beat, descriptor, beat_s)
