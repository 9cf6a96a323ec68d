"""The descendants of pods that have died: the driver's process adopts them, kills and reaps them.

A living pod adopts its own orphans, so only what a dead pod has left becomes a child of this
process (``broker.runtime.process_tree``). Children of a process are its own and not a driver's,
so this module keeps the state of the process: which of its children are pods.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator

from broker.runtime import process_tree
from pods.guardian import GUARDIAN

_END_S = 2.0
_PAUSE_S = 0.005

_pods: set[int] = set()
_starts: set[object] = set()


@contextlib.contextmanager
def starting_pod() -> Iterator[None]:
    """Prepare this process for a pod that starts within the context.

    The pod is no orphan until ``add_pod`` has been called.
    """
    process_tree.adopt_orphans()
    start = object()
    _starts.add(start)
    try:
        yield
    finally:
        _starts.discard(start)


def add_pod(pid: int) -> None:
    """Note that a child of this process is a pod."""
    _pods.add(pid)
    GUARDIAN.add(pid)


def remove_pod(pid: int) -> None:
    """Note that a pod has ended."""
    _pods.discard(pid)
    GUARDIAN.remove(pid)


async def end_orphans() -> None:
    """Kill the processes that dead pods have left, and return when they have ended.

    It returns after ``_END_S`` at the latest; a process that belongs to another user stays.
    """
    killed: set[int] = set()
    until_s = time.monotonic() + _END_S
    while time.monotonic() < until_s:
        if found := _find_orphans():
            for tree in await asyncio.to_thread(lambda: [*map(process_tree.kill_tree, found)]):
                killed.update(tree)
        killed = {pid for pid in killed if not _is_reaped(pid)}
        if not (killed or found or _starts):
            return
        await asyncio.sleep(_PAUSE_S)


def _find_orphans() -> list[int]:
    if _starts:
        return []  # A pod that has just been forked could be taken for an orphan.
    children = process_tree.main_thread_children()
    return [pid for pid in children if pid not in _pods and process_tree.is_from_pod(pid)]


def _is_reaped(pid: int) -> bool:
    """Return whether a killed process is gone; reap it if it is a zombie and a child of this one.

    Only adopted children are reaped here: the event loop waits for those that it has started.
    """
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return not process_tree.state(pid)
