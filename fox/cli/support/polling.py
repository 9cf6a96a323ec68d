"""Waiting for a state of the platform, with a status line on the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from rich.markup import escape

from fox.cli.support.tables import console_for
from kubefox.errors import DeadlineExceeded, Unavailable

POLL_S = 0.2
AWAY_S = 30.0
"""How long the control API may be away in one go, as while control is restarted."""

Result = TypeVar("Result")
Check = Callable[[], tuple[str, Result | None]]
"""Returns the progress as text, and the result as soon as there is one."""


def poll_until(
    check: Check[Result], activity: str, timeout_s: float, *, consequence: str = ""
) -> Result:
    """Call ``check`` until it returns a result, and return that.

    A ``check`` that raises ``Unavailable`` is called again, for up to 30 s without an answer.

    Args:
        check: Called every 0.2 s.
        activity: For the status line and the error message, such as ``starting pods``.
        timeout_s: Longest time to wait; ``check`` is called once even if it is 0.
        consequence: State of the platform after a timeout, for the error message.

    Raises:
        DeadlineExceeded: There was no result in time; the message holds the last progress.
        Unavailable: The last checks have all raised it.
    """
    answered_s = time.monotonic()
    deadline_s = answered_s + timeout_s
    console = console_for(sys.stderr)
    # Without a terminal, the status prints nothing.
    with console.status(activity) as status:
        while True:
            try:
                progress, result = check()
                answered_s = time.monotonic()
            except Unavailable as error:
                if time.monotonic() >= min(deadline_s, answered_s + AWAY_S):
                    raise
                progress, result = error.detail, None
            if result is not None:
                return result
            if time.monotonic() >= deadline_s:
                parts = (f"{activity} took longer than {timeout_s:g} s", progress, consequence)
                raise DeadlineExceeded(": ".join(filter(None, parts)))
            status.update(escape(f"{activity}: {progress}"))
            time.sleep(POLL_S)
