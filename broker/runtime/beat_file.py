"""The file through which a pod shows its driver that its event loop runs.

The pod overwrites it with each heartbeat, and the driver reads it when a check is due. So a
heartbeat wakes only the process of the pod.
"""

from __future__ import annotations

import os
import struct
import tempfile
from typing import NamedTuple

_FORMAT = struct.Struct("<dd")


class Beat(NamedTuple):
    """One heartbeat.

    Attributes:
        at_s: When it was sent (``time.monotonic``, the same for all processes of a machine).
        next_s: Time until the next one.
    """

    at_s: float
    next_s: float


def create_beat_file() -> int:
    """Return the descriptor of a new, empty file that has no name; the caller closes it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("fox-beat")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def write_beat(descriptor: int, beat: Beat) -> None:
    """Overwrite the heartbeat."""
    os.pwrite(descriptor, _FORMAT.pack(*beat), 0)


def read_beat(descriptor: int) -> Beat | None:
    """Return the latest heartbeat, None before the first one."""
    content = os.pread(descriptor, _FORMAT.size, 0)
    return Beat(*_FORMAT.unpack(content)) if content else None
