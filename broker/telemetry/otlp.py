"""Sends spans, logs and figures to a collector, without ever waiting for it on a request's path.

Only a process that has ``OTEL_EXPORTER_OTLP_ENDPOINT`` in its environment does so; only then the
SDK and its exporters are imported, which take 15 MB and 0.3 s. What waits for a slow collector is
bounded, what is over is dropped, the oldest first, and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from broker import logs
from broker.background import running
from broker.telemetry.figures import ProcessFigures
from broker.telemetry.metrics import Metrics
from broker.telemetry.records import Record

logger = logging.getLogger(__name__)

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
MAX_WAITING = 2_048
BATCH = 512
LAST_WORDS_S = 5.0
_DEFAULT_INTERVAL_MS = "60000"
# What they say while they export would be exported again.
_OWN_LOGGERS = ("opentelemetry", "urllib3", __name__)

_Item = TypeVar("_Item")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A collector; the exporters read from the environment where it is.

    Attributes:
        metric_interval_s: How often figures are sent.
    """

    metric_interval_s: float = 60.0


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the process's log."""

    at_ns: int
    level: int
    level_name: str
    logger: str
    message: str
    fields: dict[str, Any]


class Wire(Protocol):
    """Speaks OTLP; its methods block and return whether the collector took it."""

    def send_spans(self, records: list[Record]) -> bool:
        """Send the spans of records."""

    def send_logs(self, entries: list[LogEntry]) -> bool:
        """Send log lines."""

    def send_figures(self, figures: ProcessFigures) -> bool:
        """Send figures."""

    def close(self) -> None:
        """Give up what is being sent."""


class Waiting(Generic[_Item]):
    """What waits to be sent: at most ``MAX_WAITING``.

    Attributes:
        dropped: How many were lost.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        """Start with nothing; ``wake`` is called when there is something."""
        self._items: deque[_Item] = deque()
        self._wake = wake
        self.dropped = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._items)

    def put(self, items: Iterable[_Item]) -> None:
        """Take items; the oldest are dropped if there are too many."""
        self._items.extend(items)
        while len(self._items) > MAX_WAITING:
            self._items.popleft()
            self.dropped += 1
        self._wake()

    def take(self) -> list[_Item]:
        """Return the next batch."""
        return [self._items.popleft() for _ in range(min(BATCH, len(self._items)))]


class Exporter:
    """Brings what one process gathers to the collector; made by ``open_exporter``."""

    def __init__(self, wire: Wire, target: Target, figures: Callable[[], ProcessFigures]) -> None:
        """Start with nothing to send."""
        self._wire = wire
        self._target = target
        self._figures = figures
        self._loop = asyncio.get_running_loop()
        self._something = asyncio.Event()
        self._is_reached = True
        self.spans: Waiting[Record] = Waiting(self._something.set)
        # A line may be logged by any thread.
        self.logs: Waiting[LogEntry] = Waiting(
            lambda: self._loop.call_soon_threadsafe(self._something.set)
        )

    async def run(self) -> None:
        """Send whatever comes, and figures at their times, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_figures())
            while True:
                await self._something.wait()
                self._something.clear()
                await self.flush()

    async def flush(self) -> None:
        """Send what waits now."""
        while self.spans or self.logs:
            await self._send(self._wire.send_spans, self.spans)
            await self._send(self._wire.send_logs, self.logs)

    async def finish(self) -> None:
        """Send the last words, unless the collector is too slow for them."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self.flush()
                await asyncio.to_thread(self._wire.send_figures, self._figures())
        self._wire.close()

    async def _send(self, send: Callable[[list[_Item]], bool], waiting: Waiting[_Item]) -> None:
        batch = waiting.take()
        if not batch:
            return
        try:
            is_taken = await asyncio.to_thread(send, batch)
        except Exception:
            # One batch is lost, and not all that comes after it.
            logger.exception("%d items cannot be exported", len(batch))
            is_taken = False
        if not is_taken:
            waiting.dropped += len(batch)
        self._note(is_reached=is_taken)

    async def _send_figures(self) -> None:
        while True:
            await asyncio.sleep(self._target.metric_interval_s)
            try:
                is_taken = await asyncio.to_thread(self._wire.send_figures, self._figures())
            except Exception:
                logger.exception("figures cannot be exported")
                is_taken = False
            self._note(is_reached=is_taken)

    def _note(self, *, is_reached: bool) -> None:
        if is_reached is not self._is_reached:
            self._is_reached = is_reached
            state = "takes telemetry again" if is_reached else "cannot be reached: some is lost"
            logger.warning("the OpenTelemetry collector %s", state)


class LogTap(logging.Handler):
    """Hands the process's log lines to the exporter."""

    def __init__(self, waiting: Waiting[LogEntry]) -> None:
        """Tap into ``waiting``."""
        super().__init__()
        self._waiting = waiting

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line."""
        if record.name.startswith(_OWN_LOGGERS):
            return
        try:
            entry = _entry(record)
        except Exception:  # noqa: BLE001 - handleError tells of it
            # As every handler does: a line that cannot be put together fails nobody.
            self.handleError(record)
        else:
            self._waiting.put([entry])


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


def from_environ() -> Target | None:
    """Return the collector that the environment names, or None."""
    if not os.environ.get(ENDPOINT):
        return None
    interval_ms = float(os.environ.get(INTERVAL, _DEFAULT_INTERVAL_MS))
    return Target(metric_interval_s=interval_ms / 1000)


@contextlib.asynccontextmanager
async def open_exporter(
    target: Target, service: str, instance: str, metrics: Metrics
) -> AsyncIterator[Exporter]:
    """Send to a collector until the context ends, and then the last words.

    Args:
        target: The collector.
        service: Name of the process's service, for what belongs to no component.
        instance: Id of the process.
        metrics: Of the process.
    """

    def open_wire() -> Wire:
        # Imported here and in a thread: it takes 0.3 s.
        module = importlib.import_module("broker.telemetry.otlp_wire")
        wire: Wire = module.OtlpWire(service, instance)
        return wire

    wire = await asyncio.to_thread(open_wire)
    exporter = Exporter(wire, target, lambda: metrics.figures(instance, service))
    metrics.watch_counter("otlp_spans_dropped", lambda: exporter.spans.dropped)
    metrics.watch_counter("otlp_logs_dropped", lambda: exporter.logs.dropped)
    tap = LogTap(exporter.logs)
    logging.getLogger().addHandler(tap)
    try:
        async with running(exporter.run(), "exporting telemetry"):
            yield exporter
    finally:
        logging.getLogger().removeHandler(tap)
        await exporter.finish()
