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
from pods.liveness import NOT_WATCHED, Liveness
from pods.process import PodProcess, run_process

LOGIN = Login(url="nats://127.0.0.1:4222", process_id="process", credentials=None)
ROOT = Path("/")


def start(source: str) -> contextlib.AbstractAsyncContextManager[PodProcess]:
    command = [sys.executable, "-Sc", source]
    liveness = Liveness(NOT_WATCHED)
    return run_process(command, {}, ROOT, lambda _lines: None, 60.0, liveness, login=LOGIN)


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
