"""Waits for the platform to get somewhere, with a line on the terminal that says where it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from fox.cli.tables import console_for
from model.errors import DeadlineExceeded

POLL_S = 0.2

Result = TypeVar("Result")
Look = Callable[[], tuple[str, Result | None]]
"""Returns how far it is, for people, and what was waited for once it is there."""


def wait_for(look: Look[Result], what: str, timeout_s: float, *, then: str = "") -> Result:
    """Return what ``look`` finds in the end.

    Args:
        look: Asked again and again.
        what: What is waited for, for the message.
        timeout_s: How long; it is asked once even when there is no time.
        then: What holds when that was not enough, for the message.

    Raises:
        DeadlineExceeded: It took too long; the message says how far it came.
    """
    deadline_s = time.monotonic() + timeout_s
    console = console_for(sys.stderr)
    # Not on a terminal the status prints nothing.
    with console.status(what) as status:
        while True:
            text, result = look()
            if result is not None:
                return result
            if time.monotonic() >= deadline_s:
                told = filter(None, (f"{what} took longer than {timeout_s:g} s", text, then))
                raise DeadlineExceeded(": ".join(told))
            status.update(f"{what}: {text}")
            time.sleep(POLL_S)
