"""Show how far the start of the pods has come: one line on a terminal, else lines of the log."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable

from pods.start_progress import StartProgress

logger = logging.getLogger(__name__)

_TERMINAL_S = 0.2
_LOG_S = 1.0
_CLEAR_LINE = "\r\x1b[K"


async def show_start(progress: Callable[[], StartProgress | None]) -> None:
    """Show the progress until each version is ready or has failed to start; nothing without pods.

    Args:
        progress: Returns the progress now.
    """
    is_terminal = sys.stdout.isatty()
    shown = ""
    while True:
        now = progress()
        if now is not None and now.total and now.text != shown:
            shown = now.text
            _show(shown, is_terminal=is_terminal)
        if now is not None and now.is_settled:
            break
        await asyncio.sleep(_TERMINAL_S if is_terminal else _LOG_S)
    if shown and is_terminal:
        sys.stdout.write("\n")
        sys.stdout.flush()


def _show(text: str, *, is_terminal: bool) -> None:
    if is_terminal:
        sys.stdout.write(f"{_CLEAR_LINE}{text}")
        sys.stdout.flush()
    else:
        logger.info("%s", text)
