"""A blocking call that the platform makes inside the event loop fails the test."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster

PLATFORM = ["model", "routing", "broker", "adapters", "pods", "fox"]


@pytest.fixture(scope="session")
def _blockbuster() -> BlockBuster:
    # Tests themselves may read a file or wait for a server's first line: only calls with the
    # platform's code on the stack count.
    return BlockBuster(PLATFORM)


@pytest.fixture(autouse=True)
def _no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    if not inspect.iscoroutinefunction(request.function):
        yield
        return
    blockbuster: BlockBuster = request.getfixturevalue("_blockbuster")
    blockbuster.activate()
    yield
    blockbuster.deactivate()
