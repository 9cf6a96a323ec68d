"""Calls into nats-py that can be cancelled reliably, and work that an event cancels.

nats-py waits with ``asyncio.wait_for``. On Python 3.11 that loses a cancellation which arrives
together with the answer: the task goes on as if it had not been cancelled, and a caller that waits
for its end waits for ever. A background task therefore makes its calls through ``cancellable``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")

AGAIN_S = 1.0
"""After this time, a cancellation that had no effect is repeated."""
_POLL_S = 0.02


async def cancellable(call: Coroutine[Any, Any, _Result]) -> _Result:
    """Return the result of ``call``; if cancelled, raise CancelledError whatever ``call`` does."""
    task = asyncio.create_task(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        task.add_done_callback(_retrieve_exception)
        raise


async def within(
    timeout_s: float,
    call: Coroutine[Any, Any, _Result],
    *,
    goes_on: Callable[[], bool] | None = None,
    again_s: float = AGAIN_S,
) -> _Result:
    """Return the result of ``call``, which is cancelled until it ends when the time is over.

    Args:
        timeout_s: How long it may take.
        call: Runs in a task of its own.
        goes_on: Whether it may run on when the time is over; asked every 20 ms.
        again_s: Pause before it is cancelled once more, because a cancellation may get lost.

    Raises:
        TimeoutError: It did not end in time.
    """
    task = asyncio.create_task(call)
    task.add_done_callback(_retrieve_exception)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
        while goes_on is not None and not task.done() and goes_on():
            await asyncio.wait({task}, timeout=_POLL_S)
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=again_s)
    if task.cancelled():
        raise TimeoutError
    return task.result()


async def finishes_before(
    stop: asyncio.Event, work: Coroutine[Any, Any, object], *, again_s: float = AGAIN_S
) -> bool:
    """Await ``work`` and return True; if ``stop`` is set before, cancel it and return False.

    The work runs in the caller's task, so the caller may close what the work has opened.

    Args:
        stop: Cancels the work.
        work: Runs in the current task.
        again_s: Pause before the work is cancelled once more, because a cancellation may get lost.
    """
    task, cancels = asyncio.current_task(), 0

    async def cancel_work() -> None:
        nonlocal cancels
        await stop.wait()
        while task is not None:
            cancels += 1
            task.cancel()
            await asyncio.sleep(again_s)

    canceller = asyncio.create_task(cancel_work())
    try:
        await work
        # A cancellation that comes together with the end of the work is delivered here.
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        if task is None or not cancels or task.cancelling() > cancels:
            raise
    finally:
        canceller.cancel()
        for _ in range(cancels):
            if task is not None:
                task.uncancel()
    return not cancels


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Retrieve a failure, so that asyncio does not log it as never retrieved."""
    if not task.cancelled():
        task.exception()
