"""Log lines of every process: JSON for machines, console for people, each with its event.

A handler runs in a task of its own; ``bind`` puts the event's fields into that task's context, and
every line logged below it, by whatever library, carries them.
"""

from __future__ import annotations

import contextvars
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from broker.telemetry.trace_context import trace_id_of
from model import printable
from model.event import Event


class HasFields(Protocol):
    """Whom an event is for; see ``broker.telemetry.scope``."""

    @property
    def log_fields(self) -> Mapping[str, object]:
        """What log lines carry of it."""


_fields: contextvars.ContextVar[Mapping[str, object]] = contextvars.ContextVar(
    "log_fields",
    default={},  # noqa: B039 - never changed, only replaced
)
_event: contextvars.ContextVar[tuple[Event, HasFields] | None] = contextvars.ContextVar(
    "log_event", default=None
)
_OF_A_LINE = frozenset({"time", "level", "logger", "message", "exception"})
_encode = msgspec.json.Encoder(enc_hook=str).encode


def bind(fields: Mapping[str, object]) -> None:
    """Put ``fields`` on every line that the current task logs from now on."""
    _fields.set(fields)


def bind_event(event: Event, scope: HasFields) -> None:
    """Put an event's ids and its scope's fields on every line that the current task logs.

    It is on the path of every event: the fields are put together only when a line is logged.
    """
    _event.set((event, scope))


def configure(log_format: str, level: str, **process_fields: str) -> None:
    """Send all log lines of this process to standard error.

    Args:
        log_format: ``json`` or ``console``.
        level: Lowest level shown, by name.
        process_fields: On every line, such as ``component`` and ``pod``.
    """
    formatter = JsonFormatter() if log_format == "json" else ConsoleFormatter()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    bind(process_fields)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the structured fields of a line: the task's, its event's, then its own.

    Lines are found by the former, so one of its own that is called the same is ``field_<name>``.
    """
    known = {**_fields.get(), **_event_fields()}
    own = getattr(record, "fields", {})
    return known | {
        f"field_{name}" if name in known or name in _OF_A_LINE else name: value
        for name, value in own.items()
    }


def _event_fields() -> Mapping[str, object]:
    bound = _event.get()
    if bound is None:
        return {}
    event, scope = bound
    trace_id = trace_id_of(event.traceparent, event.genesis_id)
    ids = {"event": event.id, "genesis": event.genesis_id, "trace": trace_id}
    return {**ids, **scope.log_fields}


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
    """Return what can be encoded, of a value that may hold text which is no UTF-8."""
    if isinstance(value, int | float):
        return value
    return str(value).encode(errors="replace").decode()


class ConsoleFormatter(logging.Formatter):
    """Time, level, message and ``key=value`` fields on one line; tracebacks below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {key}={value}" for key, value in fields_of(record).items())
        told = printable.one_line(f"{record.getMessage()}{fields}")
        line = f"{time} {record.levelname.lower():<7} {told}"
        if record.exc_info:
            line = f"{line}\n{printable.lines(self.formatException(record.exc_info))}"
        return line
