"""The ways in which a platform may be watched, each beside one that is not."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from benchmarks.e2e.kubefox import FIRST, KubeFox, deploy_app, start_apart, url_path
from benchmarks.support.programs import Program, Programs
from benchmarks.support.rounds import Contestant

OFF = "off"


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """One way.

    Attributes:
        name: For people.
        environ: Variables of the platform.
        has_collector: Whether it also exports to a collector over OTLP.
        allowed: How much of the throughput and of p50 it may cost; None is only looked at.
        starts: How often it is compared; to tell by a percent whether it is allowed takes many.
    """

    name: str
    environ: dict[str, str]
    has_collector: bool = False
    allowed: float | None = None
    starts: int = 3


UNWATCHED = Mode(name=OFF, environ={"FOX_TELEMETRY": "false"})
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
    """Programs that all run with further variables.

    Args:
        folder: For their output.
        stack: The owner's.
        environ: The variables.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack, environ: dict[str, str]) -> None:
        """Start nothing yet."""
        super().__init__(folder, stack)
        self._environ = environ

    async def start(
        self, name: str, *command: str | Path, ready: str, environ: dict[str, str] | None = None
    ) -> Program:
        """Start a program with the variables; see ``Programs.start``."""
        both = {**(environ or {}), **self._environ}
        return await super().start(name, *command, ready=ready, environ=both)


async def start_beside(
    mode: Mode, folder: Path, stack: AsyncExitStack, turn: int
) -> list[tuple[Contestant, Contestant]]:
    """Start a mode and one that is not watched.

    Args:
        mode: Which.
        folder: For both; empty.
        stack: Ends them.
        turn: Number of the start. Who starts first may make a difference, so it changes.

    Returns:
        Of each the contestants of one and of two components a request; the unwatched one first.
    """
    pair = (UNWATCHED, mode)
    started = {}
    for each in pair if turn % 2 == 0 else reversed(pair):
        own = folder / each.name
        await asyncio.to_thread(own.mkdir)
        started[each.name] = await _start(each, own, stack)
    return [started[each.name] for each in pair]


async def _start(mode: Mode, folder: Path, stack: AsyncExitStack) -> tuple[Contestant, Contestant]:
    environ = dict(mode.environ)
    if mode.has_collector:
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = await _start_collector(folder, stack)
        environ["OTEL_METRIC_EXPORT_INTERVAL"] = "5000"
    programs = Configured(folder, stack, environ)
    kubefox = await start_apart(programs)
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
    return collector.said


def _contestant(mode: Mode, kubefox: KubeFox, pods: tuple[int, ...], path: str) -> Contestant:
    return Contestant(
        name=mode.name,
        port=kubefox.http_port,
        paths=(url_path(path, FIRST),),
        processes={**kubefox.processes, "pods": pods},
        baseline="" if mode.name == OFF else OFF,
    )
