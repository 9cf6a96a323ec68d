"""The first process of a container: the kernel drops signals to it that it does not handle.

Importing the platform takes half a second. A SIGTERM in that time would be lost, and the container
would be killed at the end of its grace time.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

_FIRST = 1
_SIGNALLED = 128


def end_on_sigterm() -> None:
    """End this process at SIGTERM if it is the first of its container; call this early.

    The process replaces the handler when it has work to finish. A SIGTERM that was held back
    (``hold_sigterm``) arrives now.
    """
    if os.getpid() == _FIRST:
        signal.signal(signal.SIGTERM, _end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def hold_sigterm() -> None:
    """Hold a SIGTERM back until ``end_on_sigterm``, which the program that is executed next calls.

    Only the first process of a container does so.
    """
    if os.getpid() == _FIRST:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(_SIGNALLED + number)
