"""Telemetry of the whole platform: collects the figures of all processes, and their traces."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial

from broker.nats.bus import Bus
from broker.runtime.background import run_in_background
from broker.runtime.cooperative import TimeSlice, run_in_slices
from broker.storage.pod_board import PodBoard
from broker.telemetry import prometheus
from broker.telemetry.collected import CollectedFigures, Totals
from broker.telemetry.figures import decode_figures
from broker.telemetry.scrape_lease import ScrapeLease
from broker.telemetry.senders import fault_of_figures
from broker.telemetry.stats import stats_of
from broker.telemetry.trace_store import TraceStore
from kubefox import subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import NotAuthorized
from kubefox.senders import Sender
from kubefox.telemetry import Stats

logger = logging.getLogger(__name__)

ANSWER_S = 0.25
"""Time for processes to answer; without an answer, the earlier figures of a process count."""

ALL_EVERY = 20
"""Of so many requests, one goes to all processes, and the others not to idle pods."""

BLOCK_BYTES = 64 << 10
"""Size of a block of Prometheus text, at least; a block holds one chunk more at most."""

_CHUNKS_A_STEP = 64
_MAX_ARRIVED = 10_000


class Collector:
    """Collects figures and traces of all processes; made by ``open_collector``.

    Attributes:
        traces: Recent traces.
        scrape_lease: Whether this process returns the metrics to a monitor that scrapes several.
    """

    def __init__(self, bus: Bus, board: PodBoard) -> None:
        self._bus = bus
        self._board = board
        self.scrape_lease = ScrapeLease(bus)
        self._collected = CollectedFigures()
        self._pulls = 0
        self._pulling = asyncio.Lock()
        self._arrived: asyncio.Queue[tuple[Sender, bytes]] = asyncio.Queue(_MAX_ARRIVED)
        self._answered: list[str] = []
        self.traces = TraceStore(
            partial(bus.malformed.note, subjects.SPANS), partial(bus.forged.note, subjects.SPANS)
        )

    async def pull(self) -> Totals:
        """Request the figures of every process that may have new ones, and return the sum.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        async with self._pulling:
            subject = subjects.FIGURES if self._pulls % ALL_EVERY else subjects.ALL_FIGURES
            self._pulls += 1
            await self._arrived.join()
            answered: list[str] = []
            self._answered = answered
            await self._bus.publish(subject, b"")
            await asyncio.sleep(ANSWER_S)
            await self._arrived.join()
            return await run_in_slices(self._collected.totals(time.time(), answered))

    async def stats(self, window_s: float) -> Stats:
        """Return the figures of each deployment and component; see ``stats_of``.

        Args:
            window_s: Measure for this time too; 0 returns at once.
        """
        if not window_s:
            return await run_in_slices(stats_of(await self.pull()))
        before = await self.pull()
        await asyncio.sleep(window_s)
        return await run_in_slices(stats_of(await self.pull(), before))

    async def platform_gauge(self, name: str) -> tuple[float, ...]:
        """Return a gauge of the platform's processes: of each that answers and has it.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        totals = await self.pull()
        return tuple(gauge.value for gauge in totals.gauges if gauge.name == name and not gauge.app)

    async def prometheus(self) -> AsyncGenerator[bytes, None]:
        """Yield all figures as Prometheus text, in blocks; meanwhile, other tasks run.

        Raises:
            NatsUnavailable: NATS does not answer. No block has been yielded then.
        """
        totals, time_slice = await self.pull(), TimeSlice()
        block, size = [], 0
        for number, chunk in enumerate(prometheus.chunks(totals, self._board.statuses)):
            block.append(chunk)
            size += len(chunk)
            if size >= BLOCK_BYTES:
                yield b"".join(block)
                block, size = [], 0
            if number % _CHUNKS_A_STEP == 0:
                await time_slice.checkpoint()
        yield b"".join(block)

    def receive_figures(self, subject: str, payload: bytes, _reply: str) -> None:
        """Receive the figures of a process; a ``MessageCallback``."""
        # Full only if nothing adds them any more: those that follow have these in them.
        with contextlib.suppress(asyncio.QueueFull):
            self._arrived.put_nowait((subjects.sender_of(subject), payload))

    async def add_figures(self) -> None:
        """Add the figures that arrive, one process after another, until cancelled."""
        while True:
            sender, payload = await self._arrived.get()
            try:
                await self._add(sender, payload)
            except Exception:
                logger.exception("figures of %s cannot be added", sender.source)
            finally:
                self._arrived.task_done()

    async def _add(self, sender: Sender, payload: bytes) -> None:
        try:
            app = sender.app if sender.is_pod else ""
            figures = await run_in_slices(decode_figures(payload, app))
        except DECODE_ERRORS as error:
            self._bus.malformed.note(subjects.FIGURES_OF_ALL, error)
            return
        if fault := fault_of_figures(sender, figures):
            self._bus.forged.note(subjects.FIGURES_OF_ALL, NotAuthorized(fault))
            return
        await run_in_slices(self._collected.add(figures))
        self._answered.append(figures.process)

    def receive_spans(self, subject: str, payload: bytes, _reply: str) -> None:
        """Receive spans of sampled traces; a ``MessageCallback``."""
        self.traces.add_sampled(payload, subjects.sender_of(subject))

    def receive_kept_spans(self, subject: str, payload: bytes, _reply: str) -> None:
        """Receive spans of traces that failed or were slow; a ``MessageCallback``."""
        self.traces.add_kept(payload, subjects.sender_of(subject))


@contextlib.asynccontextmanager
async def open_collector(bus: Bus, board: PodBoard) -> AsyncIterator[Collector]:
    """Collect until the context ends."""
    collector = Collector(bus, board)
    subscriptions = [
        await bus.serve_fast_path(subjects.FIGURES_OF_ALL, collector.receive_figures),
        await bus.serve_fast_path(subjects.SPANS, collector.receive_spans),
        await bus.serve_fast_path(subjects.KEPT_SPANS, collector.receive_kept_spans),
    ]
    try:
        async with (
            run_in_background(collector.add_figures(), "adding figures"),
            run_in_background(collector.scrape_lease.run(), "holding the lease of the metrics"),
        ):
            yield collector
    finally:
        for subscription in subscriptions:
            await bus.stop_serving(subscription)
