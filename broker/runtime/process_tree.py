"""A process and everything that it has started end together, on Linux.

A signal to a process group misses a child that leads a session of its own, and the parent of a
daemon has ended. So pods and their drivers adopt orphans (``adopt_orphans``): the kernel makes an
orphan the child of its nearest ancestor that does so. All descendants of a living pod are below it,
and those of a pod that died are children of its driver.

A child that starts nothing itself is tied to its parent by a signal (``end_with_parent``).

As a program, this file is the guardian of a driver's pods (``guard``). It imports the standard
library only, so that the guardian stays small.

On other systems every function does nothing; only the process group of a pod ends with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator

_IS_LINUX = sys.platform.startswith("linux")
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MAX_OOM_SCORE = 1000
_ZOMBIE = "Z"
_STOPPED = "T"
# Positions in the result of ``stat_fields``.
_SESSION = 3
_START_TIME = 19
_MAX_ZOMBIES = 100
_GUARDIAN_PAUSE_S = 0.1
_KILL_S = 1.0
_KILL_PAUSE_S = 0.002


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent has ended."""
    if _IS_LINUX:
        _load_prctl()(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    """Return a ``preexec_fn`` that ties one child process to this one.

    Args:
        death_signal: The kernel sends it to the child when this process ends.

    Returns:
        None on systems other than Linux, where the child may outlive its parent.
    """
    if not _IS_LINUX:
        return None
    # Loaded here: in the child, other threads' locks may be held for ever.
    prctl, parent = _load_prctl(), os.getpid()

    def request_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, death_signal)
        # The parent may have ended before the request: then no signal would come.
        if os.getppid() != parent:
            os._exit(1)

    return request_death_signal


def end_with(parent: int, death_signal: signal.Signals) -> None:
    """Tie this process to its parent; exit at once if that one has ended.

    Unlike ``end_with_parent``, it needs no fork. On systems other than Linux, it has no effect.

    Args:
        parent: Its process id.
        death_signal: The kernel sends it to this process when the parent ends.
    """
    if _IS_LINUX:
        _load_prctl()(_PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            raise SystemExit(1)


def mark_as_pod() -> None:
    """Mark this process and its future descendants as those of a pod; see ``is_from_pod``.

    The mark is an ``oom_score_adj`` one higher than that of the driver, which every descendant
    inherits, whatever it does to its session and environment. Without memory, the kernel
    therefore ends pods before the platform.
    """
    score = _oom_score("self")
    if score is not None and score < _MAX_OOM_SCORE:
        with contextlib.suppress(OSError):
            descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
            os.write(descriptor, str(score + 1).encode())
            os.close(descriptor)


def is_from_pod(pid: int) -> bool:
    """Return whether a child of this process is a pod, or was started in one.

    Args:
        pid: A child of a pod driver's process.
    """
    score, own_score = _oom_score(str(pid)), _oom_score("self")
    if score is not None and own_score is not None and score > own_score:
        return True
    # A driver that was itself started in a pod passes the variable on to all of its children.
    if "FOX_POD" in os.environ:
        return False
    return b"\0FOX_POD=" in b"\0" + _read_bytes(f"/proc/{pid}/environ")


def children(pid: int) -> list[int]:
    """Return the ids of a process's children, zombies included."""
    found: list[int] = []
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/task") as threads:
        for thread in threads:
            found += _children_of_thread(pid, thread.name)
    return found


def main_thread_children() -> list[int]:
    """Return the ids of the children of this process's main thread; orphans become its children."""
    return _children_of_thread(os.getpid(), str(os.getpid()))


def descendants(pid: int) -> Iterator[int]:
    """Yield the ids of all processes below a process, parents before their children."""
    unvisited = [pid]
    while unvisited:
        found = children(unvisited.pop())
        yield from found
        unvisited += found


def kill_tree(pid: int) -> list[int]:
    """Kill a process and all its descendants, and return their ids.

    None of them can start another one meanwhile.
    """
    _send(pid, signal.SIGSTOP)
    killed = [pid, *_stop_descendants(pid)]
    _kill(killed)
    return killed


def kill_descendants() -> None:
    """Kill all descendants of this process; none of them can start another one meanwhile.

    This blocks until they have ended, at most for ``_KILL_S``: some may belong to another user.
    """
    own, until_s = os.getpid(), time.monotonic() + _KILL_S
    while time.monotonic() < until_s:
        alive = [pid for pid in _stop_descendants(own) if state(pid) not in {"", _ZOMBIE}]
        if not alive:
            return
        _kill(alive)
        time.sleep(_KILL_PAUSE_S)


def reap_orphans() -> None:
    """Reap the adopted children of this process that have ended.

    Call it from time to time: no other process does it. The exit status of a child that this
    process has started is left for its own code. Only an orphan can be in a session that is neither
    its own nor that of this process. Other zombies may be orphans, so they are reaped only beyond
    ``_MAX_ZOMBIES``, the oldest first.
    """
    if not _has_ended_child():
        return
    own, own_session = os.getpid(), os.getsid(0)
    unclear = []
    for pid in _children_of_thread(own, str(own)):
        fields = stat_fields(pid)
        if not fields or fields[0] != _ZOMBIE:
            continue
        if int(fields[_SESSION]) in {own_session, pid}:
            unclear.append((int(fields[_START_TIME]), pid))
        else:
            _reap(pid)
    for _, pid in sorted(unclear)[:-_MAX_ZOMBIES]:
        _reap(pid)


def _has_ended_child() -> bool:
    """Return whether a child waits to be reaped; this is one system call, and mostly the answer."""
    if not _IS_LINUX:
        return False
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def state(pid: int) -> str:
    """Return the state of a process as the kernel names it, or an empty string if it is gone."""
    fields = stat_fields(pid)
    return fields[0] if fields else ""


def is_stopped(pid: int) -> bool:
    """Return whether a process was stopped by SIGSTOP, and does not run until SIGCONT."""
    return state(pid) == _STOPPED


def waited_s(pid: int) -> float:
    """Return how long a process's main thread was ready to run, but waited for a CPU."""
    # "time on a CPU, time waiting for one, number of time slices", in nanoseconds.
    fields = _read_bytes(f"/proc/{pid}/schedstat").split()
    return int(fields[1]) / 1e9 if fields else 0


def stat_fields(pid: int) -> list[str]:
    """Return the fields of ``/proc/<pid>/stat`` from the state on; empty if it is gone."""
    # "pid (name) state parent …"; the name may contain anything, a bracket included.
    return _read_bytes(f"/proc/{pid}/stat").decode(errors="replace").rpartition(")")[2].split()


def guard(lines: Iterable[str], pods_end_s: float) -> None:
    """Wait for the end of a driver, give its pods time to end, and kill those that still run.

    Args:
        lines: ``+<pid>`` when a pod has started, ``-<pid>`` when it has ended; they end when the
            driver ends.
        pods_end_s: Time for the pods to end by themselves.
    """
    pods: dict[int, str] = {}
    for line in lines:
        pid = int(line[1:])
        if line.startswith("+"):
            pods[pid] = _started_at(pid)
        else:
            pods.pop(pid, None)
    until_s = time.monotonic() + pods_end_s
    while pods and time.monotonic() < until_s:
        time.sleep(_GUARDIAN_PAUSE_S)
        pods = {pid: at for pid, at in pods.items() if at and _started_at(pid) == at}
    for pid in pods:
        kill_tree(pid)


def _started_at(pid: int) -> str:
    """Return when a process was started: another may get its id later. Empty if it has ended."""
    fields = stat_fields(pid)
    return fields[_START_TIME] if fields and fields[0] != _ZOMBIE else ""


def _load_prctl() -> Callable[..., int]:
    import ctypes  # noqa: PLC0415 - the guardian does without it

    prctl: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl
    return prctl


def _children_of_thread(pid: int, thread: str) -> list[int]:
    return list(map(int, _read_bytes(f"/proc/{pid}/task/{thread}/children").split()))


def _stop_descendants(pid: int) -> list[int]:
    """Stop all descendants, and return their ids."""
    stopped: dict[int, None] = {}
    # A process with a pending signal cannot fork: a round without new ones has found all.
    while new := [found for found in descendants(pid) if found not in stopped]:
        for found in new:
            _send(found, signal.SIGSTOP)
        stopped |= dict.fromkeys(new)
    return list(stopped)


def _kill(pids: list[int]) -> None:
    for pid in pids:
        _send(pid, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> None:
    # It may have ended, or may belong to another user by now.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _oom_score(pid: str) -> int | None:
    text = _read_bytes(f"/proc/{pid}/oom_score_adj")
    return int(text) if text else None


def _read_bytes(path: str) -> bytes:
    """Return the content of a file in ``/proc``; empty if the process is gone, or not ours."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return _read_all(descriptor)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 1 << 16):
        parts.append(part)
    return b"".join(parts)


if __name__ == "__main__":
    # A reader of the driver's output must not have to wait for the end of the guardian.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    guard(sys.stdin, float(sys.argv[1]))
