"""One pod as a subprocess: its lifeline, its readiness, its output, its end.

The subprocess leads a session of its own. So Ctrl-C in a terminal reaches the platform only. The
processes that it started end with it (``pods.orphans``). Its standard input is the lifeline: a pipe
that the kernel closes when this process ends, for whatever reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from broker.nats.credentials.login import Login
from broker.runtime import process_tree
from broker.runtime.beat_file import Beat
from kubefox.errors import InternalError
from pods import orphans, stop_notices
from pods.base import HasReplica, PodEnd, PodReport, has_no_replica
from pods.child_process import ChildProcess, start_child
from pods.exit_reason import exit_reason
from pods.line_splitter import LineSplitter
from pods.liveness import Liveness
from pods.login_server import LoginServer
from pods.ready_pipe import ReadyPipeReader

OnLines = Callable[[list[str]], None]

# Reading pauses after so many bytes. The resulting 1 MB/s leave the event loop free for others.
_BURST_BYTES = 64 << 10
_BURST_S = 0.05
_LAST_OUTPUT_S = 1.0
# Time for a hung pod to write its stack after SIGQUIT; a stopped process cannot write it.
_STACK_S = 0.2


class PodProcess:
    """The process of a pod, a ``pods.base.Pod``; made by ``run_process``.

    Args:
        on_lines: Called with its output, standard error included, a few lines at a time.
        liveness: Called when the pod gets work.
        has_replica: Returns whether another pod serves the same component version.
        login: Its login to NATS.
    """

    def __init__(
        self, on_lines: OnLines, liveness: Liveness, has_replica: HasReplica, login: Login
    ) -> None:
        self.ready_pipe = ReadyPipeReader(self._on_ready, lambda: liveness.on_busy(self))
        try:
            self.login_server = LoginServer(login)
        except OSError:
            self.ready_pipe.close()
            raise
        self._on_lines = on_lines
        self._has_replica = has_replica
        self._splitter = LineSplitter()
        self._last_line = ""
        self._burst_bytes = 0
        # Of the output of an ended process; others that have its pipe may write more.
        self._unread_bytes = 0
        self._note = ""
        self._is_ready = False
        self._ready_or_gone = asyncio.Event()
        self._gone = asyncio.Event()
        self._output_ended = asyncio.Event()
        self._own_output_read = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._child.pid

    @property
    def name(self) -> str:
        """Empty: its id is that of its spec."""
        return ""

    @property
    def end(self) -> PodEnd:
        """How the process ended; includes its own reason once ``stop`` has returned."""
        code = self._child.return_code
        message = f"{_describe(code)}{self._note}"
        reason = exit_reason(self._last_line) if code else ""
        return PodEnd(message=f"{message}: {reason}" if reason else message, is_clean=code == 0)

    def listen(self, _on_report: Callable[[PodReport], None]) -> None:
        """Do nothing: of a process, ``wait_ready`` and ``end`` tell all."""

    async def wait_ready(self) -> bool:
        """Return True once the pod has reported that it is ready, False if it ended before."""
        await self._ready_or_gone.wait()
        return self._is_ready

    async def wait_gone(self) -> None:
        """Return once the process has ended."""
        await self._gone.wait()

    def kill(self) -> None:
        """Kill the process, and all processes in its session, at once."""
        # After its end its id may belong to another process. Its session was killed at its end.
        if not self._gone.is_set():
            self._kill_session()

    def last_beat(self) -> Beat | None:
        """Return its last heartbeat; see ``pods.liveness.WatchedPod``."""
        return self.ready_pipe.last_beat()

    def waited_s(self) -> float:
        """Return how long it has waited for a CPU."""
        return process_tree.waited_s(self._child.pid)

    def has_replica(self) -> bool:
        """Return whether another pod serves the same component version."""
        return self._has_replica()

    def is_stopped(self) -> bool:
        """Return whether it is stopped, so that it cannot run."""
        return not self._gone.is_set() and process_tree.is_stopped(self._child.pid)

    def end_hung(self, cause: str) -> None:
        """Make the hung process write its stack to its log, and kill it."""
        if self._gone.is_set():
            return
        self._note = f" after {cause}"
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child.pid, signal.SIGQUIT)
        asyncio.get_running_loop().call_later(_STACK_S, self.kill)

    def noting_stops(self, liveness: Liveness) -> AbstractContextManager[None]:
        """Tell ``liveness`` when the process is stopped, for the length of the context."""
        pid = self._child.pid
        return stop_notices.watching(pid, lambda: liveness.on_stopped(self))

    async def stop(self, grace_s: float) -> None:
        """Drain the pod, and return when it has ended.

        Args:
            grace_s: How long it may drain. Then, or when this is cancelled, it is killed.
        """
        try:
            if not self._gone.is_set():
                self._child.terminate()
                async with asyncio.timeout(grace_s):
                    await self._gone.wait()
        except TimeoutError:
            self._note = f" after it did not stop within {grace_s:g} s"
        finally:
            self.kill()
            try:
                await self._gone.wait()
                await orphans.end_orphans()
                await self._drain_output()
            finally:
                self.ready_pipe.close()
                self.login_server.close()
                self._child.close()

    def on_start(self, child: ChildProcess) -> None:
        """Store the process."""
        self._child = child
        orphans.add_pod(child.pid)

    def on_output(self, data: bytes) -> None:
        """Pass on output, and pause reading when there is much of it."""
        self._pass_on(self._splitter.feed(data))
        self._burst_bytes += len(data)
        self._unread_bytes = max(0, self._unread_bytes - len(data))
        if self._unread_bytes:
            return
        self._own_output_read.set()
        if self._burst_bytes > _BURST_BYTES:
            self._pause_output()

    def on_output_end(self) -> None:
        """Pass on the last output."""
        self._pass_on(self._splitter.finish())
        self._output_ended.set()
        self._own_output_read.set()

    def on_exit(self) -> None:
        """Kill the pod's session, and end all waiting for the pod."""
        orphans.remove_pod(self._child.pid)
        self._kill_session()
        self._gone.set()
        self._ready_or_gone.set()

    def _on_ready(self) -> None:
        self._is_ready = True
        self._ready_or_gone.set()

    def _pass_on(self, lines: list[str]) -> None:
        if lines:
            self._on_lines(lines)
        self._last_line = next((line for line in reversed(lines) if line), self._last_line)

    def _pause_output(self) -> None:
        self._child.pause_output()

        def resume() -> None:
            self._burst_bytes = 0
            self._child.resume_output()

        asyncio.get_running_loop().call_later(_BURST_S, resume)

    async def _drain_output(self) -> None:
        """Read all that the process has written before it ended.

        A process that left the session may keep the pipe open: this does not wait for it.
        """
        self._unread_bytes = self._child.unread_bytes()
        self._own_output_read.clear()
        self._child.resume_output()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_OUTPUT_S):
                await self._output_ended.wait()
        # After that time, some is unread if this process did not run meanwhile.
        if self._unread_bytes:
            await self._own_output_read.wait()

    def _kill_session(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def run_process(
    command: Sequence[str],
    environ: Mapping[str, str],
    folder: Path,
    on_lines: OnLines,
    grace_s: float,
    liveness: Liveness,
    has_replica: HasReplica = has_no_replica,
    *,
    login: Login,
) -> AsyncIterator[PodProcess]:
    """Run a process for the length of the context; see ``pods.base.PodDriver.run``.

    Args:
        command: Program and arguments.
        environ: Its whole environment. ``FOX_READY_FD``, ``FOX_NATS_LOGIN_FD`` and ``FOX_LIFELINE``
            are added, and the variables of its heartbeats if these are watched.
        folder: Working directory.
        on_lines: Called with its output.
        grace_s: How long it may drain.
        liveness: Watches its heartbeats until the pod is stopped.
        has_replica: Returns whether another pod serves the same component version.
        login: Its login to NATS, whose key stays here (``pods.login_server``). Credentials in the
            environment would reach all that the component starts, and error reports.

    Raises:
        InternalError: The program cannot be started.
    """
    variables = {**environ, "FOX_LIFELINE": "stdin"}
    if liveness.busy_beat_s:
        variables["FOX_BEAT_S"] = f"{liveness.busy_beat_s:g}"
        variables["FOX_IDLE_BEAT_S"] = f"{liveness.idle_beat_s:g}"
    try:
        process = PodProcess(on_lines, liveness, has_replica, login)
        await _start_uninterrupted(process, command, variables, folder)
    except OSError as error:
        raise InternalError(f"{command[0]} cannot be started: {error.strerror}") from error
    try:
        with liveness.watching(process), process.noting_stops(liveness):
            yield process
    finally:
        await process.stop(grace_s)


async def _start_uninterrupted(
    process: PodProcess,
    command: Sequence[str],
    environ: Mapping[str, str],
    folder: Path,
) -> None:
    """Start the process; if this is cancelled, wait for the start, and end the process again.

    Neither asyncio nor uvloop closes all descriptors of a start that is cancelled halfway. A start
    takes a few milliseconds, so it is completed instead.
    """
    starting = asyncio.create_task(_start(process, command, environ, folder))
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        while not starting.done():  # whoever ends this may cancel it more than once
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([starting])
        if starting.exception() is None:
            process.kill()
            await process.stop(grace_s=0)
        raise


async def _start(
    process: PodProcess,
    command: Sequence[str],
    environ: Mapping[str, str],
    folder: Path,
) -> None:
    ready_fd, beat_fd = process.ready_pipe.writing_end, process.ready_pipe.beat_file
    login_fd = process.login_server.pod_end
    variables = {**environ, "FOX_READY_FD": str(ready_fd), "FOX_NATS_LOGIN_FD": str(login_fd)}
    if "FOX_BEAT_S" in environ:
        variables["FOX_BEAT_FD"] = str(beat_fd)
    try:
        with orphans.starting_pod():
            descriptors = ready_fd, beat_fd, login_fd
            await start_child(command, variables, folder, descriptors, process)
    except BaseException:
        process.ready_pipe.close()
        process.login_server.close()
        raise
    finally:
        process.ready_pipe.close_writing_end()
        process.login_server.close_pod_end()


def _describe(code: int | None) -> str:
    if code is None:
        return "still running"
    if code >= 0:
        return f"exited with code {code}"
    return f"killed by {signal.Signals(-code).name}"
