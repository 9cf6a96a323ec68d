"""Child processes: started without a fork of this process; their output and their end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from pods.child_process import ChildProcess, start_child

_forks: list[None] = []
# Called by every fork of this process, never by a vfork.
os.register_at_fork(before=lambda: _forks.append(None))


class Owner:
    """Notes what a child process reports."""

    def __init__(self) -> None:
        self.output = b""
        self.output_ended = asyncio.Event()
        self.exited = asyncio.Event()

    def on_start(self, child: ChildProcess) -> None:
        self.child = child

    def on_output(self, data: bytes) -> None:
        self.output += data

    def on_output_end(self) -> None:
        self.output_ended.set()

    def on_exit(self) -> None:
        self.exited.set()


async def start(code: str) -> Owner:
    owner = Owner()
    await start_child([sys.executable, "-Sc", code], {}, Path("/"), (), owner)
    return owner


async def end(owner: Owner) -> int | None:
    await owner.exited.wait()
    await owner.output_ended.wait()
    owner.child.close()
    return owner.child.return_code


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def without_process_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_pid: int) -> int:
        raise PermissionError

    monkeypatch.setattr("os.pidfd_open", refused, raising=False)


@pytest.fixture(params=["process descriptor", "thread"], autouse=True)
def _waits_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "thread":
        without_process_descriptors(monkeypatch)


async def test_a_start_does_not_fork_this_process() -> None:
    forks = len(_forks)

    await end(await start("pass"))

    assert len(_forks) == forks


async def test_output_and_errors_are_read_to_their_end() -> None:
    owner = await start("import os; os.write(1, b'out '); os.write(2, b'err')")

    code = await end(owner)

    assert (owner.output, code) == (b"out err", 0)


async def test_the_exit_code_names_the_signal_that_ended_it() -> None:
    owner = await start("import time; time.sleep(1000)")

    owner.child.terminate()

    assert await end(owner) == -signal.SIGTERM


async def test_the_standard_input_ends_when_the_child_is_closed() -> None:
    owner = await start("import sys; sys.stdin.read(); sys.exit(3)")

    owner.child.close()

    await owner.exited.wait()
    assert owner.child.return_code == 3


async def test_a_program_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        await start_child(["/does/not/exist"], {}, Path("/"), (), Owner())


async def test_a_process_whose_output_cannot_be_read_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_arguments: object) -> None:
        raise OSError("no memory")

    monkeypatch.setattr(asyncio.get_running_loop(), "connect_read_pipe", fail)
    owner = Owner()

    with pytest.raises(OSError, match="no memory"):
        await start_child(["/bin/sleep", "1000"], {}, Path("/"), (), owner)

    await owner.exited.wait()
    assert owner.child.return_code == -signal.SIGKILL


async def test_a_process_whose_start_is_cancelled_is_killed() -> None:
    owner = Owner()
    starting = asyncio.create_task(start_child(["/bin/sleep", "1000"], {}, Path("/"), (), owner))
    await asyncio.sleep(0)

    starting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await starting
    await owner.exited.wait()
    assert owner.child.return_code == -signal.SIGKILL


async def test_an_ended_process_leaves_no_descriptor() -> None:
    await end(await start("pass"))
    before = descriptors()

    owner = await start("print('out')")
    await end(owner)

    assert descriptors() == before
