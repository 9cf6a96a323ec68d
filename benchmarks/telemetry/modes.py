"""The modes of telemetry, each compared with a platform without telemetry."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from benchmarks.e2e.kubefox import FIRST, KubeFox, deploy_app, start_separately, url_path
from benchmarks.support.programs import Program, Programs
from benchmarks.support.rounds import Contestant

OFF = "off"


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """One mode of telemetry.

    Attributes:
        name: Name in the report.
        environ: Environment variables of the platform.
        has_collector: Whether telemetry is exported to a collector over OTLP too.
        allowed: Largest allowed loss of throughput and increase of p50; None allows any.
        starts: Number of starts; a difference of one percent needs many.
    """

    name: str
    environ: dict[str, str]
    has_collector: bool = False
    allowed: float | None = None
    starts: int = 3


WITHOUT_TELEMETRY = Mode(name=OFF, environ={"FOX_TELEMETRY": "false"})
MODES = (
    Mode(name="metrics, 1 % traced", environ={"FOX_TRACE_RATIO": "0.01"}, allowed=0.07, starts=20),
    Mode(name="metrics, 100 % traced", environ={"FOX_TRACE_RATIO": "1"}, allowed=0.30),
    Mode(
        name="metrics, 1 % traced, to a collector",
        environ={"FOX_TRACE_RATIO": "0.01"},
        has_collector=True,
    ),
)


class Configured(Programs):
    """Programs that run with additional environment variables.

    Args:
        folder: Folder for their output.
        stack: Unwinding it ends the programs.
        environ: The additional variables.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack, environ: dict[str, str]) -> None:
        super().__init__(folder, stack)
        self._environ = environ

    async def start(
        self, name: str, *command: str | Path, ready: str, environ: dict[str, str] | None = None
    ) -> Program:
        """Start a program with the additional variables; see ``Programs.start``."""
        both = {**(environ or {}), **self._environ}
        return await super().start(name, *command, ready=ready, environ=both)


async def start_beside(
    mode: Mode, folder: Path, stack: AsyncExitStack, start: int
) -> list[tuple[Contestant, Contestant]]:
    """Start a platform in a mode, and one without telemetry.

    Args:
        mode: The mode.
        folder: Empty folder for the files of both.
        stack: Unwinding it ends both.
        start: Number of the start. The order of starting may have an effect, so it alternates.

    Returns:
        For the baseline and then for the mode: the contestants of one and of two components.
    """
    pair = (WITHOUT_TELEMETRY, mode)
    started = {}
    for one in pair if start % 2 == 0 else reversed(pair):
        own = folder / one.name
        await asyncio.to_thread(own.mkdir)
        started[one.name] = await _start(one, own, stack)
    return [started[one.name] for one in pair]


async def _start(mode: Mode, folder: Path, stack: AsyncExitStack) -> tuple[Contestant, Contestant]:
    environ = dict(mode.environ)
    if mode.has_collector:
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = await _start_collector(folder, stack)
        environ["OTEL_METRIC_EXPORT_INTERVAL"] = "5000"
    programs = Configured(folder, stack, environ)
    kubefox = await start_separately(programs)
    await deploy_app(kubefox, programs)
    pods = await kubefox.pods("direct", "front", "back")
    return (
        _contestant(mode, kubefox, pods["direct"], "direct"),
        _contestant(mode, kubefox, pods["front"] + pods["back"], "hop"),
    )


async def _start_collector(folder: Path, stack: AsyncExitStack) -> str:
    collector = await Programs(folder, stack).start(
        "collector", sys.executable, "-m", "benchmarks.telemetry.collector", ready=r"at (http\S+)"
    )
    return collector.ready_text


def _contestant(mode: Mode, kubefox: KubeFox, pods: tuple[int, ...], path: str) -> Contestant:
    return Contestant(
        name=mode.name,
        port=kubefox.http_port,
        paths=(url_path(path, FIRST),),
        processes={**kubefox.processes, "pods": pods},
        baseline="" if mode.name == OFF else OFF,
    )
