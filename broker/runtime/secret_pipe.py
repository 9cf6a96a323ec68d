"""A pipe that hands a secret to a child process, which inherits its reading end."""

from __future__ import annotations

import os


def pipe_with(secret: bytes) -> int:
    """Return the reading end of a pipe that contains ``secret``: 64 KiB at most."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        os.write(writing, secret)
    finally:
        os.close(writing)
    return reading
