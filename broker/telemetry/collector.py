"""Control's side of telemetry: asks every process when somebody wants to know, keeps traces."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

import msgspec

from broker.bus import Bus
from broker.pod_board import PodBoard
from broker.telemetry import prometheus
from broker.telemetry.collected import Collected, Totals
from broker.telemetry.figures import ProcessFigures
from broker.telemetry.stats import stats_of
from broker.telemetry.trace_store import TraceStore
from model import subjects
from model.decoding import UNREADABLE
from model.telemetry import Stats

logger = logging.getLogger(__name__)

ANSWER_S = 0.25
"""How long processes have to answer; one that is busier counts with what it said before."""

_decode = msgspec.msgpack.Decoder(ProcessFigures).decode


class Collector:
    """Knows the figures of the whole platform; made by ``open_collector``.

    Attributes:
        traces: The recent ones.
    """

    def __init__(self, bus: Bus, board: PodBoard) -> None:
        """Know nothing yet."""
        self._bus = bus
        self._board = board
        self._collected = Collected()
        self._pulling = asyncio.Lock()
        self.traces = TraceStore()

    async def pull(self) -> Totals:
        """Ask every process, and return all figures together.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        async with self._pulling:
            answers = await self._bus.gather(subjects.FIGURES, b"", ANSWER_S)
            figures = [each for each in map(_read, answers) if each is not None]
            for each in figures:
                self._collected.take(each)
            return self._collected.totals(time.time(), [each.process for each in figures])

    async def stats(self, window_s: float) -> Stats:
        """Return the figures of each deployment and component; see ``stats_of``.

        Args:
            window_s: How long to look what comes; 0 does not.
        """
        if not window_s:
            return stats_of(await self.pull())
        before = await self.pull()
        await asyncio.sleep(window_s)
        return stats_of(await self.pull(), before)

    async def prometheus(self) -> str:
        """Return all figures as Prometheus text."""
        return prometheus.render(await self.pull(), self._board.statuses)

    async def take_last_figures(self, payload: bytes, _reply: str) -> None:
        """Take what a process leaves behind."""
        figures = _read(payload)
        if figures is not None:
            self._collected.take(figures)

    async def take_spans(self, payload: bytes, _reply: str) -> None:
        """Take spans of sampled traces."""
        self.traces.add_sampled(payload)

    async def take_kept_spans(self, payload: bytes, _reply: str) -> None:
        """Take spans of traces that failed or were slow."""
        self.traces.add_kept(payload)


@contextlib.asynccontextmanager
async def open_collector(bus: Bus, board: PodBoard) -> AsyncIterator[Collector]:
    """Collect until the context ends."""
    collector = Collector(bus, board)
    subscriptions = [
        await bus.serve(subjects.LAST_FIGURES, collector.take_last_figures),
        await bus.serve(subjects.SPANS, collector.take_spans),
        await bus.serve(subjects.KEPT_SPANS, collector.take_kept_spans),
    ]
    try:
        yield collector
    finally:
        for each in subscriptions:
            await bus.stop_serving(each)


def _read(payload: bytes) -> ProcessFigures | None:
    try:
        return _decode(payload)
    except UNREADABLE:
        logger.exception("figures of a process cannot be read")
        return None
