"""The output of a pod: what it prints is dropped once nothing reads it any more.

The pod runner reads the output of its pods. If it is killed, they finish their requests, and a
handler that prints must not fail with ``BrokenPipeError`` meanwhile.
"""

from __future__ import annotations

import io
import sys
from typing import Any, cast


class _Output(io.FileIO):
    """A pipe that takes everything once its reader has gone."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            return memoryview(content).nbytes


def outlive_reader() -> None:
    """Let the standard output and error of this process outlive their reader."""
    for name in ("stdout", "stderr"):
        stream = cast("io.TextIOWrapper", getattr(sys, name))
        output = _Output(stream.fileno(), "wb", closefd=False)
        lasting = io.TextIOWrapper(
            cast("io.BufferedWriter", output),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=True,
            write_through=True,
        )
        setattr(sys, name, lasting)
