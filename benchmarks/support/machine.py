"""Where something was measured: what the figures depend on, and no name of a machine."""

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
        python: Version.
        system: Kernel and architecture.
        processor: Model.
        cores: That this process may use.
        memory_gib: Installed.
        packages: Versions of those that are installed.
        busy: Load average of the last minute, just before.
    """

    python: str
    system: str
    processor: str
    cores: int
    memory_gib: float
    packages: dict[str, str]
    busy: float

    def __str__(self) -> str:
        """Return it as a sentence."""
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_gib:g} GiB; {self.system}, "
            f"Python {self.python}, {packages}; load average before the run {self.busy:g}."
        )


def describe(*packages: str) -> Machine:
    """Return this machine.

    Args:
        packages: Distributions whose versions matter; those not installed are left out.
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
