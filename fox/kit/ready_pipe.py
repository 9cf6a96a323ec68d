"""How a pod reports to its driver: readiness, heartbeats, and the begin of work.

The driver's ends are in ``pods.ready_pipe`` and ``broker.runtime.beat_file``. An idle pod sends few
heartbeats. With its first event it sends them more often, and tells the driver so, before the
handler can block the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Callable

import msgspec

from broker.runtime import process_tree
from broker.runtime.beat_file import Beat, write_beat

_READY = b"ready\n"
_BUSY = b"busy\n"


class BeatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to send heartbeats.

    Attributes:
        descriptor: Of the beat file.
        busy_s: Time between two of them while events are in flight.
        idle_s: Time between two of them otherwise.
    """

    descriptor: int
    busy_s: float
    idle_s: float


class ReadyPipeWriter:
    """Writes to the descriptor that ``FOX_READY_FD`` names, and to the beat file.

    Args:
        descriptor: Descriptor to write to; with None, nothing is reported.
        beats: How to send heartbeats; with None, none are sent.
    """

    def __init__(self, descriptor: int | None, beats: BeatSettings | None) -> None:
        self._descriptor = descriptor
        self._beats = beats
        self._count_in_flight: Callable[[], int] = int
        self._is_idle = False
        self._had_event = True
        self._timer: asyncio.TimerHandle | None = None

    def report_ready(self, count_in_flight: Callable[[], int]) -> None:
        """Report that the pod is ready, and send heartbeats from now on.

        With each heartbeat, the orphans that the pod has adopted are reaped.

        Args:
            count_in_flight: Returns the number of events that are handled now.
        """
        if self._descriptor is None:
            return
        if self._beats is None:
            os.write(self._descriptor, _READY)
            os.close(self._descriptor)
            return
        self._count_in_flight = count_in_flight
        os.set_blocking(self._descriptor, False)
        # The driver sends SIGQUIT before it kills a pod whose event loop stands still. The stack
        # in the log then shows where the component blocks.
        faulthandler.register(signal.SIGQUIT)
        # The first heartbeat precedes the line: a pod that hangs after the line is watched.
        self._beat(self._beats)
        self._write(_READY + _BUSY)

    def on_first_event(self) -> None:
        """Note an event that arrived while no other was in flight; call this before its handler."""
        self._had_event = True
        if self._is_idle and self._beats is not None and self._timer is not None:
            self._timer.cancel()
            self._beat(self._beats)
            self._write(_BUSY)

    def _beat(self, beats: BeatSettings) -> None:
        self._is_idle = not (self._had_event or self._count_in_flight())
        self._had_event = False
        period_s = beats.idle_s if self._is_idle else beats.busy_s
        write_beat(beats.descriptor, Beat(time.monotonic(), period_s))
        process_tree.reap_orphans()
        self._timer = asyncio.get_running_loop().call_later(period_s, self._beat, beats)

    def _write(self, lines: bytes) -> None:
        # The write fails when the driver has ended, or has closed its end while the pod drains.
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, lines)
