"""The programs of a benchmark: each runs as its own process, with its CPU time and memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import psutil

START_S = 60
STOP_S = 40
POLL_S = 0.01


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A running program.

    Attributes:
        pid: Process id.
        ready_text: The part of its ready line that the group of the pattern matched.
    """

    pid: int
    ready_text: str

    @property
    def family(self) -> tuple[int, ...]:
        """Process ids of the program and of its descendants."""
        children = psutil.Process(self.pid).children(recursive=True)
        return self.pid, *(child.pid for child in children)


class ProgramFailed(Exception):
    """A program ended before it was ready; the message holds its output."""


class Programs:
    """Starts programs, and ends them when the stack is unwound, the last one first.

    Args:
        folder: Folder for their output.
        stack: Unwinding it ends the programs.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.stack = stack

    async def start(
        self, name: str, *command: str | Path, ready: str, environ: dict[str, str] | None = None
    ) -> Program:
        """Start a program and return when it has printed its ready line.

        Args:
            name: Name of the file with its output.
            command: Program and arguments.
            ready: Regular expression with one group, searched in its output.
            environ: Variables added to those of this process.

        Raises:
            ProgramFailed: It ended, or printed no ready line within a minute.
        """
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**os.environ, **(environ or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C would reach all programs at once; they must end in order.
                start_new_session=True,
            )
        self.stack.push_async_callback(_stop, process)
        return Program(
            pid=process.pid, ready_text=await _wait_ready(process, log, re.compile(ready))
        )

    async def run(self, *command: str | Path, cwd: Path, environ: dict[str, str]) -> str:
        """Run a command to its end and return its output.

        Raises:
            ProgramFailed: Its exit code is not 0.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env={**os.environ, **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise ProgramFailed(f"{' '.join(map(str, command))}:\n{output.decode()}")
        return output.decode()


async def _wait_ready(
    process: asyncio.subprocess.Process, log: Path, ready: re.Pattern[str]
) -> str:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_S):
            while process.returncode is None:
                if found := ready.search(log.read_text(errors="replace")):
                    return found[1]
                await asyncio.sleep(POLL_S)
    raise ProgramFailed(f"{log.stem} was not ready:\n{log.read_text(errors='replace')[-4000:]}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def cpu_s(pids: Sequence[int]) -> float:
    """Return the CPU time of processes in seconds; the resolution is 10 ms for each."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(time.user + time.system for time in times)


def running_ns(pids: Sequence[int]) -> int:
    """Return the CPU time of processes in nanoseconds, by the scheduler's own count."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def rss_bytes(pids: Sequence[int]) -> int:
    """Return the resident memory of processes; shared pages are counted in each of them."""
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


def wakeups(pids: Sequence[int]) -> int:
    """Return how often the threads of processes were woken: the number of their waits."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(_voluntary_switches(task) for task in tasks)


def _voluntary_switches(task: Path) -> int:
    text = (task / "status").read_text()
    return int(text.partition("\nvoluntary_ctxt_switches:")[2].split("\n", 1)[0])
