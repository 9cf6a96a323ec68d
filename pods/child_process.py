"""A child process whose start does not copy the memory map of this process.

uvloop's ``subprocess_exec`` forks: in a process of 300 MiB, that holds the event loop for 12 ms of
CPU, and makes page faults of another 60 ms afterwards. ``subprocess`` uses ``vfork``, which takes
0.7 ms at any size (docs/explanation/performance-notes.md). uvloop also leaves descriptors open when
a start fails for lack of them. The process is started from the main thread: ``pods.orphans`` looks
for the children of that one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast


class ChildOwner(Protocol):
    """Gets what a child process reports."""

    def on_start(self, child: ChildProcess) -> None:
        """Store the process; called in the same turn of the event loop as its start."""

    def on_output(self, data: bytes) -> None:
        """Handle output."""

    def on_output_end(self) -> None:
        """Note that there is no further output."""

    def on_exit(self) -> None:
        """Note that the process has ended, and was reaped."""


class ChildProcess(asyncio.Protocol):
    """A running child process; made by ``start_child``.

    Args:
        process: The process.
        owner: Gets its output and its end.
    """

    def __init__(self, process: subprocess.Popen[bytes], owner: ChildOwner) -> None:
        self._process = process
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._descriptor = _open_descriptor(process.pid)
        if self._descriptor is None:
            name = f"end of process {process.pid}"
            threading.Thread(target=self._wait_in_thread, name=name, daemon=True).start()
        else:
            self._loop.add_reader(self._descriptor, self._reap, self._descriptor)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def return_code(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it, or None while it runs."""
        return self._process.returncode

    def terminate(self) -> None:
        """Send SIGTERM, unless it has ended."""
        self._process.terminate()

    def pause_output(self) -> None:
        """Read no output until ``resume_output``."""
        self._output.pause_reading()

    def resume_output(self) -> None:
        """Read output again."""
        if not self._output.is_closing():
            self._output.resume_reading()

    def unread_bytes(self) -> int:
        """Return how much output is in the pipe now."""
        if self._output.is_closing():
            return 0
        found = fcntl.ioctl(self._output.get_extra_info("pipe"), termios.FIONREAD, bytes(4))
        return int.from_bytes(found, sys.byteorder)

    def close(self) -> None:
        """Close the pipes to a process that has ended."""
        _close_lifeline(self._process)
        self._output.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport of the output."""
        self._output = cast("asyncio.ReadTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass on output."""
        self._owner.on_output(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report that the output has ended."""
        self._owner.on_output_end()

    def _wait_in_thread(self) -> None:
        self._process.wait()
        # The loop may have been closed meanwhile.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._owner.on_exit)

    def _reap(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        self._process.poll()
        self._owner.on_exit()


async def start_child(
    command: Sequence[str],
    environ: Mapping[str, str],
    folder: Path | None,
    pass_fds: Sequence[int],
    owner: ChildOwner,
    *,
    has_lifeline: bool = True,
    merges_errors: bool = True,
) -> None:
    """Start a process in a session of its own.

    Args:
        command: Program and arguments.
        environ: Its whole environment.
        folder: Working directory; None for that of this process.
        pass_fds: Descriptors that it inherits.
        owner: Gets its output and its end; must close it then.
        has_lifeline: Whether its standard input is a pipe, which ends with this process; otherwise
            it is empty.
        merges_errors: Whether its standard error goes to its output, or to that of this process.

    Raises:
        OSError: It cannot be started.
    """
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - `vfork` returns when the program runs
            command,
            bufsize=0,
            stdin=subprocess.PIPE if has_lifeline else subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.STDOUT if merges_errors else None,
            env=environ,
            cwd=folder,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        child = ChildProcess(process, owner)
    except RuntimeError as error:  # there is no thread that could wait for its end
        process.kill()
        process.wait()
        _close_lifeline(process)
        os.close(reading)
        raise OSError(errno.EAGAIN, str(error)) from error
    owner.on_start(child)
    # The event loop closes the descriptor, also when it fails. If the file did so too, it could
    # close that of another: one that a thread has opened in between.
    output = open(reading, "rb", buffering=0, closefd=False)  # noqa: ASYNC230, SIM115
    try:
        await asyncio.get_running_loop().connect_read_pipe(lambda: child, output)
    except BaseException:
        process.kill()
        _close_lifeline(process)
        raise


def _close_lifeline(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _open_descriptor(pid: int) -> int | None:
    """Return a descriptor that is readable when a process has ended, or None without such ones."""
    try:
        # Linux only; older sandboxes refuse it.
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
