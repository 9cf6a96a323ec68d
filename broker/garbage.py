"""The garbage collector, set for a process that serves: what it was started with stays for good."""

from __future__ import annotations

import gc

# Net allocations between looks at the young ones, and looks at them between looks at older ones.
# What a request allocates goes by its reference counts; the collector looks in vain.
_YOUNG = 20_000
_MIDDLE = 20
_OLD = 50


def settle() -> None:
    """Take what lives now for permanent, and look for garbage less often from now on.

    To be called once, when a process has imported and opened all that it serves with.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
