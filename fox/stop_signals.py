"""The signals that stop a process of the platform."""

from __future__ import annotations

import asyncio
import os
import signal

EXIT_FORCED = 130


def stop_on_signals() -> asyncio.Event:
    """Return an event that the first SIGINT or SIGTERM sets; the second ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            # Pods end when their standard input is closed; the kernel ends nats-server.
            os._exit(EXIT_FORCED)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return stop
