"""The tasks that handlers start take turns on the event loop, as the handlers themselves do.

A handler that starts tasks (``asyncio.gather``, task groups) does its work in them. Without turns,
a lane whose handlers do so holds the loop for all of them in one turn of the loop: 200 handlers
with 20 ms of work each in ten tasks raise the median of a neighbour from 1 to 670 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any

from broker.dispatch.event_queue import EventQueue
from broker.dispatch.handling import Handling

_current: ContextVar[Handling | None] = ContextVar("current_handling", default=None)
follow = _current.set
"""Treat the tasks that the running task will start, and those that they start, as of an event."""


class HandlerTasks:
    """Makes the tasks of an event loop, in place of the loop.

    A task of the platform that several events share is made with a new ``Context``: it is of none.

    Args:
        queue: Gives the turns.
    """

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue
        self._last_number = 0

    def make(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        /,
        *,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        """Return a new task; a task factory, see ``loop.set_task_factory``."""
        handling = _current.get() if context is None else context.get(_current)
        if handling is None:
            return asyncio.Task(work, loop=loop, context=context, **options)
        self._last_number += 1
        key = f"{handling.key}/{self._last_number}"
        own = Handling(handling.event, b"", "", key, handling.lane)
        running = self._queue.run_task(own, work)
        task = asyncio.Task(running, loop=loop, context=context, **options)
        # A task that is cancelled before it runs does not get as far as its work.
        task.add_done_callback(lambda _: work.close())
        return task
