"""The garbage collector, set for a process that serves: what it was started with stays for good."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

# Net allocations between looks at the young ones, and looks at them between looks at older ones.
# What a request allocates goes by its reference counts; the collector looks in vain.
_YOUNG = 20_000
_MIDDLE = 20
_OLD = 50
# Objects of a load that are worth setting apart: a look at them holds the loop for some 10 ms.
_MANY = 100_000


def settle() -> None:
    """Take what lives now for permanent, and look for garbage less often from now on.

    To be called once, when a process has imported and opened all that it serves with.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Look for no garbage meanwhile: for a load, which makes much that all stays.

    To look at it again and again takes more than half of the time of a load of 100,000
    deployments, and holds the loop for up to 2 s at a stretch. What a large load leaves is taken
    for permanent.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] >= _MANY:
            gc.freeze()
        if was_enabled:
            gc.enable()
