"""Exports spans, logs and figures to an OpenTelemetry collector; requests never wait for it.

A process exports only with ``OTEL_EXPORTER_OTLP_ENDPOINT`` in its environment. Only then it imports
the SDK and its exporters, which take 15 MB and 0.3 s. A slow collector makes a bounded queue; items
beyond the bound are dropped, the oldest first, and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from broker.runtime import logs
from broker.runtime.background import run_in_background
from broker.telemetry.figures import ProcessFigures
from broker.telemetry.metrics import Metrics
from broker.telemetry.otlp_messages import LogEntry, OtlpSender
from broker.telemetry.records import Record

logger = logging.getLogger(__name__)

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
MAX_WAITING = 2_048
BATCH = 512
FINISH_S = 5.0
_DEFAULT_INTERVAL_MS = "60000"
# Log lines of the export itself would be exported again.
_OWN_LOGGERS = ("opentelemetry", "urllib3", __name__)

_Item = TypeVar("_Item")


class OtlpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the export; the SDK's exporters read further ones from the environment.

    Attributes:
        metric_interval_s: Time between two exports of figures.
        finish_s: Time for the last export, when the process ends.
    """

    metric_interval_s: float = 60.0
    finish_s: float = FINISH_S


class ExportQueue(Generic[_Item]):
    """Items that wait for their export: at most ``MAX_WAITING``.

    Args:
        wake: Called after items were added.

    Attributes:
        dropped: Number of items that were dropped.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._items: deque[_Item] = deque()
        self._wake = wake
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, items: Iterable[_Item]) -> None:
        """Add items; the oldest are dropped if too many wait."""
        self._items.extend(items)
        while len(self._items) > MAX_WAITING:
            self._items.popleft()
            self.dropped += 1
        self._wake()

    def next_batch(self) -> list[_Item]:
        """Remove the oldest items and return them."""
        return [self._items.popleft() for _ in range(min(BATCH, len(self._items)))]


class Exporter:
    """Exports the telemetry of one process; made by ``open_exporter``.

    Args:
        sender: Sends to the collector.
        settings: Of the export.
        figures: Returns the figures of the process.

    Attributes:
        spans: Records that wait for their export.
        logs: Log lines that wait for their export.
    """

    def __init__(
        self, sender: OtlpSender, settings: OtlpSettings, figures: Callable[[], ProcessFigures]
    ) -> None:
        self._sender = sender
        self._settings = settings
        self._figures = figures
        self._loop = asyncio.get_running_loop()
        self._has_items = asyncio.Event()
        self._is_reached = True
        self.spans: ExportQueue[Record] = ExportQueue(self._has_items.set)
        # Any thread may log.
        self.logs: ExportQueue[LogEntry] = ExportQueue(
            lambda: self._loop.call_soon_threadsafe(self._has_items.set)
        )

    async def run(self) -> None:
        """Export items as they come, and figures at their interval, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_figures())
            while True:
                await self._has_items.wait()
                self._has_items.clear()
                await self.flush()

    async def flush(self) -> None:
        """Export the waiting items now."""
        while self.spans or self.logs:
            await self._send(self._sender.send_spans, self.spans)
            await self._send(self._sender.send_logs, self.logs)

    async def finish(self) -> None:
        """Export the waiting items and the final figures, for at most ``finish_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.finish_s):
                await self.flush()
                await asyncio.to_thread(self._sender.send_figures, self._figures())
        self._sender.close()

    async def _send(self, send: Callable[[list[_Item]], bool], queue: ExportQueue[_Item]) -> None:
        batch = queue.next_batch()
        if not batch:
            return
        try:
            is_accepted = await asyncio.to_thread(send, batch)
        except Exception:
            # Only this batch is lost: later ones are still exported.
            logger.exception("%d items could not be exported and are dropped", len(batch))
            is_accepted = False
        if not is_accepted:
            queue.dropped += len(batch)
        self._log_change(is_reached=is_accepted)

    async def _send_figures(self) -> None:
        while True:
            await asyncio.sleep(self._settings.metric_interval_s)
            try:
                is_accepted = await asyncio.to_thread(self._sender.send_figures, self._figures())
            except Exception:
                logger.exception("figures could not be exported")
                is_accepted = False
            self._log_change(is_reached=is_accepted)

    def _log_change(self, *, is_reached: bool) -> None:
        if is_reached is self._is_reached:
            return
        self._is_reached = is_reached
        if is_reached:
            logger.warning("the OpenTelemetry collector accepts telemetry again")
        else:
            logger.warning(
                "the OpenTelemetry collector cannot be reached, telemetry is lost: check %s",
                ENDPOINT,
            )


class LogExportHandler(logging.Handler):
    """Adds the process's log lines to the exporter's queue."""

    def __init__(self, queue: ExportQueue[LogEntry]) -> None:
        super().__init__()
        self._queue = queue

    def emit(self, record: logging.LogRecord) -> None:
        """Add one line."""
        if record.name.startswith(_OWN_LOGGERS):
            return
        try:
            entry = _entry(record)
        except Exception:  # noqa: BLE001 - handleError reports it
            # As in every handler, a line that cannot be formatted stops nothing.
            self.handleError(record)
        else:
            self._queue.add([entry])


def _entry(record: logging.LogRecord) -> LogEntry:
    fields = logs.fields_of(record)
    if record.exc_info and record.exc_info[1]:
        fields["exception.message"] = str(record.exc_info[1])
        fields["exception.type"] = type(record.exc_info[1]).__qualname__
    return LogEntry(
        at_ns=int(record.created * 1e9),
        level=record.levelno,
        level_name=record.levelname,
        logger=record.name,
        message=record.getMessage(),
        fields=fields,
    )


def settings_from_environ() -> OtlpSettings | None:
    """Return the settings of the environment, or None if it names no collector."""
    if not os.environ.get(ENDPOINT):
        return None
    interval_ms = float(os.environ.get(INTERVAL, _DEFAULT_INTERVAL_MS))
    return OtlpSettings(metric_interval_s=interval_ms / 1000)


@contextlib.asynccontextmanager
async def open_exporter(
    settings: OtlpSettings, service: str, instance: str, metrics: Metrics, app: str = ""
) -> AsyncIterator[Exporter]:
    """Export to a collector until the context ends, and then the items that still wait.

    Args:
        settings: Of the export.
        service: Name of the process's service, for telemetry of no component.
        instance: Id of the process.
        metrics: Of the process.
        app: App of a pod; empty for a process of the platform.
    """

    def open_sender() -> OtlpSender:
        # The import takes 0.3 s, so it runs in a thread.
        module = importlib.import_module("broker.telemetry.otlp_sender")
        sender: OtlpSender = module.SdkOtlpSender(service, instance, app)
        return sender

    sender = await asyncio.to_thread(open_sender)
    exporter = Exporter(sender, settings, lambda: metrics.figures(instance, service))
    metrics.watch_counter("otlp_spans_dropped", lambda: exporter.spans.dropped)
    metrics.watch_counter("otlp_logs_dropped", lambda: exporter.logs.dropped)
    handler = LogExportHandler(exporter.logs)
    logging.getLogger().addHandler(handler)
    try:
        async with run_in_background(exporter.run(), "exporting telemetry"):
            yield exporter
    finally:
        logging.getLogger().removeHandler(handler)
        await exporter.finish()
