"""Log lines of every process, as JSON or for the console, each with the fields of its event.

A handler runs in a task of its own. ``bind_event`` puts the event into that task's context, and
every line that the task logs, libraries included, has the event's fields.
"""

from __future__ import annotations

import contextvars
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from broker.runtime.trace_context import trace_id_of
from kubefox import printable
from kubefox.event import Event


class HasLogFields(Protocol):
    """Has log fields that say which deployment an event is for; see ``broker.telemetry.labels``."""

    @property
    def log_fields(self) -> Mapping[str, object]:
        """The fields, by name."""


_fields: contextvars.ContextVar[Mapping[str, object]] = contextvars.ContextVar(
    "log_fields",
    default={},  # noqa: B039 - replaced, never modified
)
_event: contextvars.ContextVar[tuple[Event, HasLogFields] | None] = contextvars.ContextVar(
    "log_event", default=None
)
_LINE_FIELDS = frozenset({"time", "level", "logger", "message", "exception"})
_encode = msgspec.json.Encoder(enc_hook=str).encode


def bind(fields: Mapping[str, object]) -> None:
    """Add ``fields`` to every line that the current task logs from now on."""
    _fields.set(fields)


def bind_event(event: Event, labels: HasLogFields) -> None:
    """Add an event's ids and ``labels.log_fields`` to every line that the current task logs.

    Every event passes here, so the fields are collected only when a line is logged.
    """
    _event.set((event, labels))


def configure(log_format: str, level: str, **process_fields: str) -> None:
    """Send all log lines of this process to standard error.

    Args:
        log_format: ``json`` or ``console``.
        level: Lowest level shown, by name.
        process_fields: Fields of every line, such as ``component`` and ``pod``.
    """
    formatter = JsonFormatter() if log_format == "json" else ConsoleFormatter()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    bind(process_fields)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields of a line: those of the task, of its event, and of the line itself.

    Lines are searched by the first two, so a field of the line itself that has the same name as one
    of them becomes ``field_<name>``.
    """
    known = {**_fields.get(), **_event_fields()}
    own = getattr(record, "fields", {})
    return known | {
        f"field_{name}" if name in known or name in _LINE_FIELDS else name: value
        for name, value in own.items()
    }


def _event_fields() -> Mapping[str, object]:
    bound = _event.get()
    if bound is None:
        return {}
    event, labels = bound
    trace_id = trace_id_of(event.traceparent, event.genesis_id)
    ids = {"event": event.id, "genesis": event.genesis_id, "trace": trace_id}
    return {**ids, **labels.log_fields}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return _encode(line).decode()
        except UnicodeEncodeError:
            return _encode({name: _readable(value) for name, value in line.items()}).decode()


def _readable(value: object) -> object:
    """Return a value that can be encoded as UTF-8; other text in it is replaced."""
    if isinstance(value, int | float):
        return value
    return str(value).encode(errors="replace").decode()


class ConsoleFormatter(logging.Formatter):
    """Time, level, message and ``key=value`` fields on one line; tracebacks below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {key}={value}" for key, value in fields_of(record).items())
        text = printable.one_line(f"{record.getMessage()}{fields}")
        line = f"{time} {record.levelname.lower():<7} {text}"
        if record.exc_info:
            line = f"{line}\n{printable.lines(self.formatException(record.exc_info))}"
        return line
