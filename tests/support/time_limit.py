"""An async test that hangs fails where it hangs, and its fixtures are torn down.

No signal gets through to an idle uvloop, so pytest-timeout can only end the whole run, without a
word on what was awaited, and leave servers behind. It stays as the last resort: a test is
cancelled a little before that.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeGuard

import pytest

SHARE = 0.8


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Put a limit on every async test, below the time at which pytest-timeout ends the run."""
    for item in items:
        if _can_be_limited(item):
            item.obj = limited(item.obj, SHARE * _timeout_s(item))


def limited(test: Callable[..., Awaitable[None]], limit_s: float) -> Callable[..., Awaitable[None]]:
    """Return ``test``, cancelled after ``limit_s``."""

    @functools.wraps(test)
    async def wrapper(*args: object, **kwargs: object) -> None:
        async with asyncio.timeout(limit_s):
            await test(*args, **kwargs)

    return wrapper


def _can_be_limited(item: pytest.Item) -> TypeGuard[pytest.Function]:
    # Hypothesis runs the coroutines of its own tests.
    return (
        isinstance(item, pytest.Function)
        and inspect.iscoroutinefunction(item.obj)
        and not hasattr(item.obj, "hypothesis")
    )


def _timeout_s(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    given = marker.args[0] if marker and marker.args else item.config.getoption("timeout")
    return float(given or item.config.getini("timeout"))
