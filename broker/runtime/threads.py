"""Blocking calls in threads, for callers that close what the calls have opened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Blocking(Protocol):
    """Something that is opened and closed by blocking calls."""

    def open(self) -> None:
        """Open it."""

    def close(self) -> None:
        """Close it; also called if ``open`` has failed."""


Opened = TypeVar("Opened", bound=Blocking)


async def in_thread(call: Callable[[], Result]) -> Result:
    """Return the result of a blocking call; if cancelled, wait until the call has ended.

    ``asyncio.to_thread`` leaves the call running then, and a caller that closes a file would close
    it under the call.
    """
    work = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():  # whoever ends this may cancel it more than once
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({work})
        if not work.cancelled():
            work.exception()
        raise


@contextlib.asynccontextmanager
async def opened(blocking: Opened) -> AsyncIterator[Opened]:
    """Open something in a thread, and close it at the end of the context, whatever happens."""
    try:
        await in_thread(blocking.open)
        yield blocking
    finally:
        await in_thread(blocking.close)
