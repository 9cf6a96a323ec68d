"""The machine of a measurement: the properties that the results depend on, no host name."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import psutil

GIB = 1 << 30


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine and what runs on it.

    Attributes:
        python: Version of Python.
        system: Kernel and architecture.
        processor: Model of the processor.
        cores: Number of cores that this process may use.
        memory_gib: Installed memory.
        packages: Versions of the installed packages.
        busy: Load average of the minute before the run.
    """

    python: str
    system: str
    processor: str
    cores: int
    memory_gib: float
    packages: dict[str, str]
    busy: float

    def __str__(self) -> str:
        """Return the machine as a sentence."""
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_gib:g} GiB; {self.system}, "
            f"Python {self.python}, {packages}; load average before the run {self.busy:g}."
        )


def describe(*packages: str) -> Machine:
    """Return this machine.

    Args:
        packages: Packages whose versions are recorded; missing ones are left out.
    """
    found = {name: _version(name) for name in packages}
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / GIB, 1),
        packages={name: number for name, number in found.items() if number},
        busy=round(os.getloadavg()[0], 2),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
