"""Detection of memory leaks: exceptions that only the garbage collector would free."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def leaves_no_frame_of(folder: str) -> Iterator[None]:
    """Fail if the block leaves an unreachable exception that holds frames of a folder's code.

    The collector counts objects, not bytes, so what such frames hold may be large and stay long.

    Args:
        folder: Of the project, such as ``adapters/http``.
    """
    gc.collect()
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [error for error in gc.garbage if isinstance(error, BaseException)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    held = [repr(error) for error in left if _passed_through(error, folder)]
    assert not held, f"frames of {folder} are held by {held}"


def _passed_through(error: BaseException, folder: str) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(folder in Path(frame.filename).as_posix() for frame in frames)
