"""Tune the garbage collector for a process that serves requests."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

# Net allocations between collections of generation 0, and collections of one generation between
# those of the next. A request's objects are freed by their reference counts, so a collection finds
# nothing; but it reads what was made since the last one, and holds the loop meanwhile. Each object
# is read once in either generation, so small collections take no more time than large ones
# (docs/explanation/performance-notes.md).
_GENERATION_0 = 1_000
_GENERATION_1 = 2
# A whole collection stays rare: it reads all objects that are not frozen.
_GENERATION_2 = 8_000
# A collection of this many loaded objects holds the loop for some 10 ms; so they are frozen.
_FREEZE_ABOVE = 100_000
# A collection visits 20,000 references in 1 to 4 ms.
_FREEZE_REFERENCES = 20_000


def freeze_imported() -> None:
    """Collect garbage, and freeze what the imports have left.

    To be called before the event loop runs: a collection of all imported objects takes 30 ms.
    """
    gc.collect()
    gc.freeze()


def tune_for_serving() -> None:
    """Freeze all objects that exist now, and collect less often from now on.

    To be called once, when a process has opened everything that it serves with. It collects
    nothing: that would hold the loop, and ``freeze_imported`` has done it.
    """
    gc.freeze()
    gc.set_threshold(_GENERATION_0, _GENERATION_1, _GENERATION_2)


def freeze_large(references: int) -> None:
    """Freeze all objects if a collection of so many references would hold the loop for long."""
    if references >= _FREEZE_REFERENCES:
        gc.freeze()


@contextlib.contextmanager
def collection_paused() -> Iterator[None]:
    """Disable collection during a load that makes many objects, all of which stay.

    Collections take more than half of the time of a load of 100,000 deployments, and hold the loop
    for up to 2 s at a stretch. The objects of a large load are frozen at its end.
    """
    _loads.begin()
    try:
        yield
    finally:
        if gc.get_count()[0] >= _FREEZE_ABOVE:
            gc.freeze()
        _loads.end()


class _Loads:
    """Loads that are running; a process may have several at once."""

    def __init__(self) -> None:
        self._count = 0
        self._was_enabled = False

    def begin(self) -> None:
        if not self._count:
            self._was_enabled = gc.isenabled()
            gc.disable()
        self._count += 1

    def end(self) -> None:
        self._count -= 1
        if not self._count and self._was_enabled:
            gc.enable()


_loads = _Loads()
