"""A guard: a test fails if the platform makes a blocking call in the event loop."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster

COVERAGE_LOCK = ("coverage/collector.py", "lock_data")
START_OF_A_CHILD = ("subprocess.py", "_execute_child")
PLATFORM = ["kubefox", "routing", "broker", "control", "adapters", "pods", "fox"]


@pytest.fixture(scope="session")
def _blockbuster() -> BlockBuster:
    # Tests themselves may read a file or wait for a server's first line: only calls with the
    # platform's code on the stack count.
    blockbuster = BlockBuster(PLATFORM)
    # Coverage measures every thread under one lock, which a thread of the platform may hold just
    # when the loop enters a file for the first time.
    blockbuster.functions["threading.Lock.acquire"].can_block_in(*COVERAGE_LOCK)
    # `vfork` has returned, so the program runs: the pipe that is read is closed.
    blockbuster.functions["os.read"].can_block_in(*START_OF_A_CHILD)
    return blockbuster


@pytest.fixture(autouse=True)
def _no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    if not inspect.iscoroutinefunction(request.function):
        yield
        return
    blockbuster: BlockBuster = request.getfixturevalue("_blockbuster")
    blockbuster.activate()
    yield
    blockbuster.deactivate()
