"""What a process does beside everything else, from when a part is opened until it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, object], name: str) -> AsyncIterator[None]:
    """Run something until the context ends; then it is cancelled, and has ended.

    Should it fail before, the log tells at once: nobody else would.

    Args:
        work: Runs until it is cancelled.
        name: Of it, for the log.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_tell)
    try:
        yield
    finally:
        task.remove_done_callback(_tell)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _tell(task: asyncio.Task[object]) -> None:
    failure = None if task.cancelled() else task.exception()
    if failure is not None:
        logger.critical("%s has stopped for good", task.get_name(), exc_info=failure)
