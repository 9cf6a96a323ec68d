"""The limits of its pods that a component declares; each lowers a limit of the platform."""

from __future__ import annotations

import msgspec

_MIB = 1 << 20
# The runtime and its threads need about 60 MiB.
MIN_MEMORY_MIB = 128
MAX_MEMORY_MIB = 1 << 20
# The runtime has some 20 open files, and some threads.
MIN_OPEN_FILES = 64
MAX_OPEN_FILES = 1 << 20
MIN_PROCESSES = 64
MAX_PROCESSES = 1 << 20


class DeclaredLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits that a component declares; None leaves one to the platform.

    Attributes:
        memory_mib: Private memory of a pod, in MiB.
        open_files: Open files of a pod.
        processes: Processes and threads of a pod.
    """

    memory_mib: int | None = None
    open_files: int | None = None
    processes: int | None = None

    @property
    def memory_bytes(self) -> int:
        """Private memory of a pod; 0 leaves the limit to the platform."""
        return (self.memory_mib or 0) * _MIB

    @property
    def fault(self) -> str:
        """Why they cannot be declared; empty if they can."""
        found = (
            _fault("memory_mib", self.memory_mib, MIN_MEMORY_MIB, MAX_MEMORY_MIB),
            _fault("open_files", self.open_files, MIN_OPEN_FILES, MAX_OPEN_FILES),
            _fault("processes", self.processes, MIN_PROCESSES, MAX_PROCESSES),
        )
        return next(filter(None, found), "")


def _fault(name: str, value: int | None, least: int, most: int) -> str:
    if value is None or least <= value <= most:
        return ""
    return f"{name} is {value}: expected a number from {least} to {most}"
