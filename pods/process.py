"""One pod as a subprocess: its lifeline, its readiness, its output, its end.

The subprocess leads a session of its own, so Ctrl-C in a terminal reaches the platform and not its
pods, and whatever it starts itself can be ended with it. Its standard input is the lifeline: a pipe
that the kernel closes when this process goes, however it goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from model.errors import InternalError
from pods.base import PodEnd
from pods.last_words import reason
from pods.lines import LineSplitter
from pods.liveness import Liveness
from pods.ready_pipe import ReadyPipe

OnLines = Callable[[list[str]], None]

# After so many bytes a pod's output has to wait: about 1 MB/s leave the event loop to others.
_BURST_BYTES = 64 << 10
_BURST_S = 0.05
_LAST_OUTPUT_S = 1.0
_STDOUT = 1
# For the stack that a pod writes when it is told that it hangs; a stopped one writes none.
_STACK_S = 0.2


class PodProcess(asyncio.SubprocessProtocol):
    """A pod's process; made by ``running``.

    Args:
        on_lines: Takes its output, standard error included, a few lines at a time.
    """

    def __init__(self, on_lines: OnLines) -> None:
        """Start with nothing seen; see ``running``."""
        self.ready_pipe = ReadyPipe(self._say_ready)
        self._on_lines = on_lines
        self._splitter = LineSplitter()
        self._last_line = ""
        self._burst_bytes = 0
        self._note = ""
        self._is_ready = False
        self._settled = asyncio.Event()
        self._gone = asyncio.Event()
        self._output_ended = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._transport.get_pid()

    @property
    def end(self) -> PodEnd:
        """How the process ended; with what it said of it once ``stop`` has returned."""
        code = self._transport.get_returncode()
        told = f"{_describe(code)}{self._note}"
        said = reason(self._last_line) if code else ""
        return PodEnd(message=f"{told}: {said}" if said else told, is_clean=code == 0)

    async def wait_ready(self) -> bool:
        """Return True once the pod said that it is ready, False if it ended before."""
        await self._settled.wait()
        return self._is_ready

    async def wait_gone(self) -> None:
        """Return at once when the process has ended."""
        await self._gone.wait()

    def kill(self) -> None:
        """End the process, and all that it started in its session, now."""
        # Once it is gone its id may be another's; its session was ended with it.
        if not self._gone.is_set():
            self._kill_session()

    def last_beat_s(self) -> float | None:
        """See ``pods.liveness.Beating``."""
        return self.ready_pipe.last_beat_s()

    def end_hung(self, still_s: float) -> None:
        """See ``pods.liveness.Beating``."""
        if self._gone.is_set():
            return
        self._note = f" after its event loop stood still for {still_s:.0f} s"
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._transport.get_pid(), signal.SIGQUIT)
        asyncio.get_running_loop().call_later(_STACK_S, self.kill)

    async def stop(self, grace_s: float) -> None:
        """Let the pod drain, and return when it is gone.

        Args:
            grace_s: How long it may take; then, or when this is cancelled, it is killed.
        """
        try:
            if not self._gone.is_set():
                self._transport.terminate()
                async with asyncio.timeout(grace_s):
                    await self._gone.wait()
        except TimeoutError:
            self._note = f" after it did not stop within {grace_s:g} s"
        finally:
            self.kill()
            await self._gone.wait()
            await self._drain_output()
            self.ready_pipe.close()
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what controls the process."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take output."""
        self._take(self._splitter.feed(data))
        self._burst_bytes += len(data)
        if self._burst_bytes > _BURST_BYTES:
            self._pause_output()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Take the end of the output."""
        if fd == _STDOUT:
            self._take(self._splitter.finish())
            self._output_ended.set()

    def process_exited(self) -> None:
        """Tell those who wait; what the pod left running is of no use without it."""
        self._kill_session()
        self._gone.set()
        self._settled.set()

    def _say_ready(self) -> None:
        self._is_ready = True
        self._settled.set()

    def _take(self, lines: list[str]) -> None:
        if lines:
            self._on_lines(lines)
        self._last_line = next((line for line in reversed(lines) if line), self._last_line)

    def _pause_output(self) -> None:
        output = cast("asyncio.ReadTransport", self._transport.get_pipe_transport(_STDOUT))
        output.pause_reading()

        def resume() -> None:
            self._burst_bytes = 0
            if not output.is_closing():
                output.resume_reading()

        asyncio.get_running_loop().call_later(_BURST_S, resume)

    async def _drain_output(self) -> None:
        # A process that left the session may hold the pipe open: it is not waited for.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_OUTPUT_S):
                await self._output_ended.wait()

    def _kill_session(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._transport.get_pid(), signal.SIGKILL)


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str],
    environ: Mapping[str, str],
    folder: Path,
    on_lines: OnLines,
    grace_s: float,
    liveness: Liveness,
) -> AsyncIterator[PodProcess]:
    """Run a process while the context lasts; see ``pods.base.PodDriver.run``.

    Args:
        command: Program and arguments.
        environ: Its whole environment; ``FOX_READY_FD``, ``FOX_LIFELINE`` and, if its loop
            is watched, ``FOX_BEAT_S`` are added.
        folder: Working directory.
        on_lines: Takes its output.
        grace_s: How long it may drain.
        liveness: Watches it until it is to drain.

    Raises:
        InternalError: The program cannot be started.
    """
    told = {**environ, "FOX_LIFELINE": "stdin"}
    if liveness.beat_s:
        told["FOX_BEAT_S"] = f"{liveness.beat_s:g}"
    try:
        process = await _start_whole(command, told, folder, on_lines)
    except OSError as error:
        raise InternalError(f"{command[0]} cannot be started: {error.strerror}") from error
    try:
        with liveness.watching(process):
            yield process
    finally:
        await process.stop(grace_s)


async def _start_whole(
    command: Sequence[str], environ: Mapping[str, str], folder: Path, on_lines: OnLines
) -> PodProcess:
    """Start the process; if this is cancelled, the process is gone again when it returns.

    Cancelled in the middle, neither asyncio nor uvloop closes all descriptors of a start: it takes
    a few milliseconds, so it is waited for instead.
    """
    starting = asyncio.create_task(_start(command, environ, folder, on_lines))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        if starting.exception() is None:
            process = starting.result()
            process.kill()
            await process.stop(grace_s=0)
        raise


async def _start(
    command: Sequence[str], environ: Mapping[str, str], folder: Path, on_lines: OnLines
) -> PodProcess:
    loop = asyncio.get_running_loop()
    process = PodProcess(on_lines)
    told = process.ready_pipe.told
    try:
        await loop.subprocess_exec(
            lambda: process,
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**environ, "FOX_READY_FD": str(told)},
            cwd=folder,
            pass_fds=(told,),
            start_new_session=True,
        )
    except BaseException:
        process.ready_pipe.close()
        raise
    finally:
        os.close(told)
    return process


def _describe(code: int | None) -> str:
    if code is None:
        return "still running"
    if code >= 0:
        return f"exited with code {code}"
    return f"killed by {signal.Signals(-code).name}"
