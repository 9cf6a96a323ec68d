"""The end of a pod's process: nothing that a component has started keeps it, or outlives it.

Threads that are not daemons, and the threads of executors, would keep the interpreter for as long
as they run. Child processes would outlive it. So the end of a pod has a limit, and takes all
descendants with it.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from broker.runtime import process_tree

EXIT_FAILED = 1
ORPHAN_S = 2.0
"""How long a pod may drain after its driver has ended."""

EXIT_S = 2.0
"""How long a component's threads and exit handlers may run after the pod has drained."""


def prepare() -> None:
    """Adopt orphans, and end all descendants at the interpreter's exit; call this first."""
    process_tree.mark_as_pod()
    process_tree.adopt_orphans()
    # Exit handlers run in reverse order: those of the component before this one.
    atexit.register(_kill_descendants_of, os.getpid())


def _kill_descendants_of(pod: int) -> None:
    # A process that the component forked runs the exit handlers too, and may leave a daemon.
    if os.getpid() == pod:
        process_tree.kill_descendants()


def end_now(code: int) -> NoReturn:
    """End this process and its descendants at once."""
    process_tree.kill_descendants()
    os._exit(code)


def end_within(limit_s: float, code: int) -> None:
    """End this process at the latest after ``limit_s``, whatever its other threads do."""

    def end() -> None:
        time.sleep(limit_s)
        end_now(code)

    threading.Thread(target=end, name="end", daemon=True).start()


LAST_ANSWERS_S = 0.3
"""Before its end, an orphaned pod has so long to answer the events that it does not finish."""


def hold_lifeline(on_orphaned: Callable[[], None]) -> None:
    """Call back when standard input ends; a thread waits, for a handler may block the loop."""
    loop = asyncio.get_running_loop()

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        # There is no driver to kill this pod: it limits its drain itself.
        end_within(ORPHAN_S, EXIT_FAILED)
        loop.call_soon_threadsafe(on_orphaned)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
