"""What only the garbage collector would free: failures, and the frames that they hold."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def leaves_no_frame_of(folder: str) -> Iterator[None]:
    """Fail if afterwards an exception that nobody can reach holds frames of the code in a folder.

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
        left = [each for each in gc.garbage if isinstance(each, BaseException)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    held = [repr(each) for each in left if _passed_through(each, folder)]
    assert not held, f"frames of {folder} are held by {held}"


def _passed_through(error: BaseException, folder: str) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(folder in Path(frame.filename).as_posix() for frame in frames)
