"""The programs of a benchmark: each a process of its own, and what it costs."""

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
    """A program that runs.

    Attributes:
        pid: Its process id.
        said: What it said when it was ready: the first group of the pattern that was waited for.
    """

    pid: int
    said: str

    @property
    def family(self) -> tuple[int, ...]:
        """Process ids of the program and of all that it has started."""
        children = psutil.Process(self.pid).children(recursive=True)
        return self.pid, *(each.pid for each in children)


class ProgramFailed(Exception):
    """A program ended before it was ready; the message holds its output."""


class Programs:
    """Starts programs, and ends them when the stack is unwound, the last one first.

    Args:
        folder: For their output.
        stack: The owner's.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        """Start nothing yet."""
        self.folder = folder
        self.stack = stack

    async def start(
        self, name: str, *command: str | Path, ready: str, environ: dict[str, str] | None = None
    ) -> Program:
        """Start a program and return when it says that it is ready.

        Args:
            name: Its output is kept under this name.
            command: Program and arguments.
            ready: Regular expression with one group, looked for in its output.
            environ: Variables on top of this process's own.

        Raises:
            ProgramFailed: It ended instead, or said nothing of the kind in a minute.
        """
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**os.environ, **(environ or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C would reach all at once, and not in their order.
                start_new_session=True,
            )
        self.stack.push_async_callback(_stop, process)
        return Program(pid=process.pid, said=await _said(process, log, re.compile(ready)))

    async def run(self, *command: str | Path, cwd: Path, environ: dict[str, str]) -> str:
        """Run a command to its end and return what it prints.

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


async def _said(process: asyncio.subprocess.Process, log: Path, ready: re.Pattern[str]) -> str:
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
    """Return the seconds of CPU that processes have used up to now; exact to 10 ms each."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(each.user + each.system for each in times)


def rss_bytes(pids: Sequence[int]) -> int:
    """Return the memory that processes hold, shared pages counted in each."""
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


def wakeups(pids: Sequence[int]) -> int:
    """Return how often the threads of processes have gone to sleep, and so were woken."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(_voluntary_switches(task) for task in tasks)


def _voluntary_switches(task: Path) -> int:
    text = (task / "status").read_text()
    return int(text.partition("\nvoluntary_ctxt_switches:")[2].split("\n", 1)[0])
