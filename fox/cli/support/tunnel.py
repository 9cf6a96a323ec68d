"""A tunnel from a port of this machine to a port of a pod, by ``kubectl port-forward``.

kubectl runs as a child process. It ends with the command: after it, at an error, at Ctrl-C, SIGTERM
and SIGHUP, and on Linux also when the command is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import signal
import subprocess
import threading
from collections import deque
from types import FrameType
from typing import IO, Self

from fox.cli.support.kubectl import KubeTarget, failure, last_lines, start

ADDRESS = "127.0.0.1"
_STOP_S = 5.0
_KEPT_LINES = 20
_forwarding = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) -> \d+").match
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_open: set[Tunnel] = set()
"""Tunnels that must end with this process."""


class Tunnel:
    """A running ``kubectl port-forward``; made by ``open_tunnel``.

    Args:
        process: kubectl.
        output: The pipe with its output.

    Attributes:
        port: Of ``ADDRESS``; 0 until kubectl listens.
    """

    def __init__(self, process: subprocess.Popen[str], output: IO[str]) -> None:
        self.port = 0
        self._process = process
        self._output = output
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._is_known = threading.Event()
        # kubectl prints a line for each connection, and would wait for its reader.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def is_open(self) -> bool:
        """Whether kubectl still runs; it ends when it has lost the pod."""
        return self._process.poll() is None

    @property
    def said(self) -> str:
        """The last errors of kubectl."""
        return last_lines("\n".join(self._lines))

    def wait_listening(self, timeout_s: float) -> Self | None:
        """Return the tunnel when kubectl listens; None if it has ended, or the time has."""
        self._is_known.wait(timeout_s)
        return self if self.port else None

    def close(self) -> None:
        """End kubectl."""
        _open.discard(self)
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_STOP_S)

    def _read(self) -> None:
        for line in self._output:
            if found := _forwarding(line):
                self.port = int(found[1])
                self._is_known.set()
            elif not line.startswith("Handling connection"):
                self._lines.append(line)
        self._output.close()
        self._is_known.set()


def open_tunnel(target: KubeTarget, pod: str, port: int, timeout_s: float) -> Tunnel:
    """Return a tunnel to a port of a pod; the caller closes it.

    Raises:
        InvalidRequest: kubectl is not installed.
        NotAuthorized: Kubernetes does not allow port-forward.
        NoPlatform: kubectl has failed, or does not listen in time.
    """
    _handle_signals()
    options = ("port-forward", "--address", ADDRESS)
    tunnel = Tunnel(*start(target.command(*options, f"pod/{pod}", f":{port}")))
    _open.add(tunnel)
    if tunnel.wait_listening(timeout_s) is None:
        tunnel.close()
        raise failure(target, f"{tunnel.said} (port-forward to pod {pod})")
    return tunnel


def _handle_signals() -> None:
    for number in _SIGNALS:
        # A signal that is ignored or handled stays so.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


@atexit.register
def _close_all() -> None:
    for tunnel in list(_open):
        tunnel.close()


def _end(number: int, _frame: FrameType | None) -> None:
    _close_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
