"""The messages that an exporter sends to an OpenTelemetry collector, and the sender it needs."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from broker.telemetry.figures import ProcessFigures
from broker.telemetry.records import Record


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the process's log."""

    at_ns: int
    level: int
    level_name: str
    logger: str
    message: str
    fields: dict[str, Any]


class OtlpSender(Protocol):
    """Sends by OTLP. Its methods block, and return whether the collector accepted the batch."""

    def send_spans(self, records: list[Record]) -> bool:
        """Send the spans of records."""

    def send_logs(self, entries: list[LogEntry]) -> bool:
        """Send log lines."""

    def send_figures(self, figures: ProcessFigures) -> bool:
        """Send figures."""

    def close(self) -> None:
        """Stop the sending that runs."""
