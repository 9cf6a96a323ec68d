"""Calls into nats-py that can be cancelled for sure.

On Python 3.11 ``asyncio.wait_for``, which nats-py waits with, loses a cancellation that comes in
the same moment as the answer: the task goes on as if nobody had cancelled it, and whoever waits
for its end waits for ever. A background task therefore makes its calls through ``cancellable``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def cancellable(call: Coroutine[Any, Any, _Result]) -> _Result:
    """Return what ``call`` returns; cancelled, raise CancelledError whatever the call does."""
    task = asyncio.create_task(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        task.add_done_callback(_forget)
        raise


def _forget(task: asyncio.Task[Any]) -> None:
    """Take note of a failure that nobody waits for any more, so that it is not logged."""
    if not task.cancelled():
        task.exception()
