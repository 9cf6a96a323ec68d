"""Count the work that is done without a pause.

Time depends on the machine, so these count calls of functions, of Python and of C. A call takes
about 0.1 µs, and 50,000 of them 5 ms.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from kubefox.errors import FoxError
from kubefox.steps import Steps
from routing.language.rule import RuleError

MAX_CALLS = 50_000


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions some work calls; a refusal may end it."""
    count = 0

    def on_event(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(on_event)
    try:
        with suppress(FoxError, RuleError):
            work()
    finally:
        sys.setprofile(None)
    return count


def most_calls_of_a_step(steps: Steps[object]) -> int:
    """Make all steps, and return how many functions the longest one calls."""
    most, has_ended = 0, False

    def step() -> None:
        nonlocal has_ended
        has_ended = next(steps, "ended") == "ended"

    while not has_ended:
        most = max(most, calls_of(step))
    return most
