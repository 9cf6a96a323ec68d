"""Notices that a pod's process was stopped, by SIGSTOP for example: the kernel tells its parent.

A pod that was stopped while it was idle would be found late: idle pods send few heartbeats. One
thread waits for the notices of all pods. Children belong to a process, and so does this thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator

_lock = threading.Lock()
_watched: dict[int, Callable[[], None]] = {}
_threads: list[threading.Thread] = []


@contextlib.contextmanager
def watching(pid: int, on_stopped: Callable[[], None]) -> Iterator[None]:
    """Call ``on_stopped`` in the running event loop whenever a child process is stopped."""
    if not hasattr(os, "waitid"):
        yield
        return
    loop = asyncio.get_running_loop()
    with _lock:
        _watched[pid] = lambda: _notify(loop, on_stopped)
        if not _threads:
            _threads.append(threading.Thread(target=_wait, name="stop notices", daemon=True))
            _threads[0].start()
    try:
        yield
    finally:
        with _lock:
            del _watched[pid]


def _notify(loop: asyncio.AbstractEventLoop, on_stopped: Callable[[], None]) -> None:
    # The loop may have been closed meanwhile.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(on_stopped)


def _wait() -> None:
    """Wait for notices while this process has children; their ends are left for others."""
    while (stopped := _wait_for_one()) is not None:
        with _lock:
            notify = _watched.get(stopped)
        if notify is not None:
            notify()


def _wait_for_one() -> int | None:
    """Return the id of the next child that is stopped, None if there are no children."""
    while True:
        with _lock:
            try:
                os.waitid(os.P_ALL, 0, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                _threads.clear()
                return None
        with contextlib.suppress(ChildProcessError):
            result = os.waitid(os.P_ALL, 0, os.WSTOPPED)
            if result is not None:
                return result.si_pid
