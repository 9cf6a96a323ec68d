"""Work in short steps: a generator yields where its caller may let other tasks run.

Pure code cannot wait, so a long computation is such a generator. An async edge lets other tasks run
between its steps (``broker.runtime.cooperative.run_in_slices``); ``finish`` runs all at once.

The hot path does not pay for this. It calls plain functions, which use what has been made before.
If something is missing that takes long to make, they raise ``Unprepared``: the caller makes it in
steps, and calls again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Generic, TypeVar

Result = TypeVar("Result")

Steps = Generator[None, None, Result]
"""Yields between two steps, and returns the result after the last one."""


class TakesLong(Exception):
    """A call would hold the loop for long: make it in steps."""


class Unprepared(TakesLong):
    """A call needs something that takes long to make.

    Args:
        make: Makes it in steps. While the caller holds the result, a further call finds it.
    """

    def __init__(self, make: Callable[[], Steps[object]]) -> None:
        super().__init__("call it again after the steps of make()")
        self.make = make


def at_once(result: Result) -> Steps[Result]:
    """Return a result that takes no steps."""
    yield from ()
    return result


def in_steps(call: Callable[[], Result]) -> Steps[Result]:
    """Return the result of a call, after having made in steps all that it needs."""
    held = []
    while True:
        try:
            return call()
        except Unprepared as unprepared:
            make = unprepared.make
        held.append((yield from make()))


class SharedSteps(Generic[Result]):
    """Steps that several callers make together: a step of one of them is a step for all.

    Args:
        steps: To be made once.
    """

    __slots__ = ("__weakref__", "_is_done", "_result", "_steps")

    def __init__(self, steps: Steps[Result]) -> None:
        self._steps = steps
        self._is_done = False
        self._result: Result

    def join(self) -> Steps[Result]:
        """Make the steps that are left, together with the other callers."""
        while not self._is_done:
            try:
                next(self._steps)
            except StopIteration as end:
                self._result, self._is_done = end.value, True
            else:
                yield
        return self._result


def finish(steps: Steps[Result]) -> Result:
    """Return the result of all steps, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
