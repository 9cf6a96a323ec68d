"""The guardian: a process that ends the pods of a driver that was killed.

A pod whose driver has ended drains and exits by itself (``fox.kit.pod_end``). It cannot if it was
stopped, or if C code of its component keeps the interpreter's lock. The guardian waits until the
driver's end closes its standard input, gives the pods time, and kills those that still run, with
all their descendants (``broker.runtime.process_tree.guard``). Until then it only sleeps.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys

from broker.runtime import process_tree

logger = logging.getLogger(__name__)

PODS_END_S = 3.0
"""Time for the pods to end by themselves; they take at most ``fox.kit.pod_end.ORPHAN_S``."""

_COMMAND = (sys.executable, "-I", "-S", process_tree.__file__, str(PODS_END_S))


class Guardian:
    """The guardian of this process's pods; it starts with the first pod.

    Attributes:
        pid: Its process id; 0 before its start.
    """

    def __init__(self) -> None:
        self._pods: set[int] = set()
        self.pid = 0
        self._input = -1

    def add(self, pod: int) -> None:
        """Tell the guardian that a pod runs; there is a guardian on Linux only."""
        self._pods.add(pod)
        if not sys.platform.startswith("linux") or self._tell(f"+{pod}\n"):
            return
        try:
            self._start()
        except OSError:
            logger.exception(
                "no guardian can be started: a pod that hangs may outlive this process"
            )
        self._tell("".join(f"+{pid}\n" for pid in self._pods))

    def remove(self, pod: int) -> None:
        """Tell the guardian that a pod has ended."""
        self._pods.discard(pod)
        self._tell(f"-{pod}\n")

    def _tell(self, lines: str) -> bool:
        """Return False if no guardian runs."""
        if self._input < 0:
            return False
        try:
            os.write(self._input, lines.encode())
        except BlockingIOError:
            return True  # It was stopped; a driver must not wait for it.
        except BrokenPipeError:
            return False
        return True

    def _start(self) -> None:
        if self._input >= 0:
            os.close(self._input)
            self._input = -1
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
        reading, self._input = os.pipe()
        os.set_blocking(self._input, False)
        null = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                _COMMAND,
                os.environ,
                file_actions=((os.POSIX_SPAWN_DUP2, reading, 0), null, (os.POSIX_SPAWN_DUP2, 1, 2)),
                # Ctrl-C in a terminal must not reach it.
                setsid=True,
            )
        finally:
            os.close(reading)


GUARDIAN = Guardian()
"""Children belong to a process, and so does the guardian of those that are pods."""
