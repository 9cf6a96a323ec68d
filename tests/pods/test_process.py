"""The process of a pod leaves no descriptor open, whatever happens at its start and at its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.nats.credentials.login import Login
from kubefox.errors import InternalError
from pods import orphans
from pods import process as process_module
from pods.liveness import NOT_WATCHED, Liveness
from pods.process import OnLines, PodProcess, run_process

LOGIN = Login(url="nats://127.0.0.1:4222", process_id="process", credentials=None)
ROOT = Path("/")


def start(
    source: str, on_lines: OnLines = lambda _lines: None
) -> contextlib.AbstractAsyncContextManager[PodProcess]:
    command = [sys.executable, "-Sc", source]
    return run_process(command, {}, ROOT, on_lines, 60.0, Liveness(NOT_WATCHED), login=LOGIN)


async def test_the_last_output_of_a_pod_is_read_also_after_the_time_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if this process had not run during that time, which began while reading was paused.
    monkeypatch.setattr(process_module, "_LAST_OUTPUT_S", 0)
    monkeypatch.setattr(process_module, "_BURST_BYTES", 0)
    monkeypatch.setattr(process_module, "_BURST_S", 3600)
    lines: list[str] = []

    # 66,000 bytes are more than one read returns. What is left after one fits into the pipe.
    async with start("for number in range(8250): print(f'{number:07}')", lines.extend) as pod:
        await pod.wait_gone()

    assert pod.end.is_clean
    assert lines == [f"{number:07}" for number in range(8250)]


async def test_a_process_that_holds_the_output_of_a_pod_open_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_module, "_LAST_OUTPUT_S", 0.01)
    lines: list[str] = []

    async with start("print('there')", lines.extend) as pod:
        reading = pod._child._output.get_extra_info("pipe").fileno()
        holding = os.open(f"/proc/self/fd/{reading}", os.O_WRONLY)
        await pod.wait_gone()
    os.close(holding)

    assert lines == ["there"]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def before() -> int:
    """Return the number of descriptors once the first pod has started what serves all of them."""
    async with start("pass") as pod:
        await pod.wait_gone()
    return descriptors()


@contextlib.contextmanager
def few_free(count: int) -> Iterator[None]:
    """Leave this process so many descriptors for the length of the context."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 64, hard))
    taken: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


@pytest.mark.parametrize("free", range(10))
async def test_a_start_without_free_descriptors_leaves_none(before: int, free: int) -> None:
    with few_free(free), pytest.raises(InternalError, match="cannot be started: Too many open"):
        async with start("pass"):
            pass

    assert descriptors() == before


async def test_an_end_that_is_cancelled_leaves_no_descriptor(before: int) -> None:
    has_ended = asyncio.Event()

    async def run() -> None:
        async with start("pass") as pod:
            await pod.wait_gone()
            has_ended.set()

    running = asyncio.create_task(run())
    # While another pod starts, the end of this one waits to see what is an orphan.
    with orphans.starting_pod():
        await has_ended.wait()
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])

    assert running.cancelled()
    assert descriptors() == before


async def test_a_start_that_is_cancelled_twice_ends_the_process(
    before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    connect = loop.connect_read_pipe
    is_starting, may_go_on = asyncio.Event(), asyncio.Event()

    async def connect_later(*arguments: Any) -> Any:
        is_starting.set()
        await may_go_on.wait()
        return await connect(*arguments)

    async def run() -> None:
        async with start("import time; time.sleep(1000)"):
            pass

    monkeypatch.setattr(loop, "connect_read_pipe", connect_later)
    running = asyncio.create_task(run())
    await is_starting.wait()
    for _ in range(2):
        running.cancel()
        await asyncio.sleep(0)
    has_waited = not running.done()
    may_go_on.set()
    await asyncio.wait([running])

    assert has_waited
    assert running.cancelled()
    assert descriptors() == before
