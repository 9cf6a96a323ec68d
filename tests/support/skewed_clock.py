"""Processes whose clock is wrong: a small library, built here, moves their time of day."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")


class SkewedClock:
    """A clock that is ahead of the true one, for processes that are started with ``environ``.

    Args:
        folder: For the library and the file with the seconds; the processes must see it.
        ahead_s: How far it is ahead; negative if it is behind.
    """

    def __init__(self, folder: Path, ahead_s: int) -> None:
        folder.mkdir()
        library = folder / "skewed_clock.so"
        command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self._file = folder / "seconds"
        self.environ = {"LD_PRELOAD": str(library), "CLOCK_AHEAD_FILE": str(self._file)}
        self.set(ahead_s)

    def set(self, ahead_s: int) -> None:
        """Set the clock of all its processes, also of those that run."""
        new = self._file.with_suffix(".new")
        new.write_text(str(ahead_s))
        new.replace(self._file)
