"""Tasks that run in the background from when a part is opened until it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def run_in_background(work: Coroutine[Any, Any, object], name: str) -> AsyncIterator[None]:
    """Run a coroutine until the context ends; then cancel it and wait for its end.

    If it fails earlier, the failure is logged at once, because no other task awaits it.

    Args:
        work: Runs until it is cancelled.
        name: Name of the task, for the log.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_failure)
    try:
        yield
    finally:
        task.remove_done_callback(_log_failure)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _log_failure(task: asyncio.Task[object]) -> None:
    failure = None if task.cancelled() else task.exception()
    if failure is not None:
        logger.critical("%s has stopped for good", task.get_name(), exc_info=failure)
